// index: linear indices of dispatches that are folded over x and y. Needs nothing.

// Index of a workgroup, `count` being num_workgroups. Folding rounds up: the last ones may be surplus.
fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.y * count.x + id.x;
}
