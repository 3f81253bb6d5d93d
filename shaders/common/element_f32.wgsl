// element_f32: activations and weights are stored as f32.
alias Element = f32;
alias Element4 = vec4<f32>;
