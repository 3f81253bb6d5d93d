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
