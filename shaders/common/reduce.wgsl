// reduce: reductions over the threads of a workgroup. Needs the kernel's `override WG`, a power of two.

var<workgroup> reduce_scratch: array<f32, WG>;

// Sum of `value` over all threads, in the same order whatever the scheduling. Every thread must call it.
fn reduce_sum(value: f32, thread: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[thread] = value;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if thread < width {
            reduce_scratch[thread] += reduce_scratch[thread + width];
        }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}

// Four sums at once, one after the other.
fn reduce_sum4(value: vec4<f32>, thread: u32) -> vec4<f32> {
    return vec4<f32>(
        reduce_sum(value.x, thread),
        reduce_sum(value.y, thread),
        reduce_sum(value.z, thread),
        reduce_sum(value.w, thread),
    );
}

// Largest `value` over all threads. Every thread must call it.
fn reduce_max(value: f32, thread: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[thread] = value;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if thread < width {
            reduce_scratch[thread] = max(reduce_scratch[thread], reduce_scratch[thread + width]);
        }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}
