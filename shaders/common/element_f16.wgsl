// element_f16: activations and weights are stored as f16; sums stay f32. Needs `enable f16;`.
alias Element = f16;
alias Element4 = vec4<f16>;
