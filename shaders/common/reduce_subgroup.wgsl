// reduce_subgroup: reduce where a device has subgroups: each of them reduces by itself, then all threads go over
// their results. Needs the kernel's `override WG`.

// Indices of a thread that reductions need.
struct Thread {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
}

var<workgroup> reduce_scratch: array<vec4<f32>, WG>;

// Four sums over all threads, in the same order whatever the scheduling. Every thread must call it.
fn reduce_sum4(value: vec4<f32>, thread: Thread) -> vec4<f32> {
    let part = subgroupAdd(value);
    workgroupBarrier();
    if thread.lane == 0u {
        reduce_scratch[thread.subgroup] = part;
    }
    workgroupBarrier();
    var total = reduce_scratch[0];
    for (var s = 1u; s < thread.subgroups; s++) {
        total += reduce_scratch[s];
    }
    return total;
}

// Sum of `value` over all threads, likewise.
fn reduce_sum(value: f32, thread: Thread) -> f32 {
    return reduce_sum4(vec4<f32>(value, 0.0, 0.0, 0.0), thread).x;
}

// Largest `value` over all threads. Every thread must call it.
fn reduce_max(value: f32, thread: Thread) -> f32 {
    let part = subgroupMax(value);
    workgroupBarrier();
    if thread.lane == 0u {
        reduce_scratch[thread.subgroup].x = part;
    }
    workgroupBarrier();
    var largest = reduce_scratch[0].x;
    for (var s = 1u; s < thread.subgroups; s++) {
        largest = max(largest, reduce_scratch[s].x);
    }
    return largest;
}
