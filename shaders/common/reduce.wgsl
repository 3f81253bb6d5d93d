// reduce: reductions over the threads of a workgroup. Needs the kernel's `override WG`, a power of two.

// Indices of a thread that reductions need.
struct Thread {
    @builtin(local_invocation_index) index: u32,
}

var<workgroup> reduce_scratch: array<f32, WG>;

// Sum of `value` over all threads, in the same order whatever the scheduling. Every thread must call it.
fn reduce_sum(value: f32, thread: Thread) -> f32 {
    workgroupBarrier();
    reduce_scratch[thread.index] = value;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if thread.index < width {
            reduce_scratch[thread.index] += reduce_scratch[thread.index + width];
        }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}

// Four sums at once, one after the other.
fn reduce_sum4(value: vec4<f32>, thread: Thread) -> vec4<f32> {
    return vec4<f32>(
        reduce_sum(value.x, thread),
        reduce_sum(value.y, thread),
        reduce_sum(value.z, thread),
        reduce_sum(value.w, thread),
    );
}

// Largest `value` over all threads. Every thread must call it.
fn reduce_max(value: f32, thread: Thread) -> f32 {
    workgroupBarrier();
    reduce_scratch[thread.index] = value;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if thread.index < width {
            let other = reduce_scratch[thread.index + width];
            reduce_scratch[thread.index] = max(reduce_scratch[thread.index], other);
        }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}
