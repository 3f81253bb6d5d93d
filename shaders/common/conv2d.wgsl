// conv2d: sizes, bindings and workgroups of the convolutions, and their epilogue. Needs element_* and activation, and the kernel's
// binding 1, `x`.

struct Params {
    N: u32,
    F: u32,
    T: u32,
    C4: u32,
    FO: u32,
    TO: u32,
    O4: u32,
    OP4: u32,  // O/4 as the weights are padded
    FIRST: u32,  // first workgroup along x, for a dispatch in slices
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> w: array<Element4>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<Element4>;

// Index of a workgroup along x, which is folded over x and z; `count` is num_workgroups.
fn workgroup_along_x(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return params.FIRST + id.z * count.x + id.x;
}

// Initial maximum of a pool window: below every sum.
const NONE = vec4<f32>(-3.0e38);

// Adds the bias to a window's maximum, activates it and stores it: vec4 `channel` of pool window `window`.
fn store_pooled(window: u32, channel: u32, largest: vec4<f32>) {
    y[window * params.O4 + channel] = Element4(activate4(largest + b[channel]));
}
