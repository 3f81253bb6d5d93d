//! Arrays of NumPy files.

use std::path::Path;

use tagwave::tensor::{HostTensor, Shape};

/// Array `name` of an `.npz` file, as f32.
pub fn array(file: &Path, name: &str) -> HostTensor {
    let mut archive = npyz::npz::NpzArchive::open(file).unwrap();
    let array = archive.by_name(name).unwrap().unwrap_or_else(|| panic!("{} has no {name}", file.display()));
    let extents: Vec<usize> = array.shape().iter().map(|&extent| extent as usize).collect();
    let columns_first = array.order() == npyz::Order::Fortran;
    let data = array.into_vec::<f32>().unwrap();
    let data = if columns_first { rows_first(&extents, &data) } else { data };
    HostTensor::new(Shape::new(&extents), data).unwrap()
}

/// Column-major data in row-major order.
fn rows_first(extents: &[usize], data: &[f32]) -> Vec<f32> {
    (0..data.len())
        .map(|index| {
            let (mut rest, mut place, mut stride) = (index, 0, data.len());
            for &extent in extents.iter().rev() {
                stride /= extent;
                place += rest % extent * stride;
                rest /= extent;
            }
            data[place]
        })
        .collect()
}

/// Names of the arrays of an `.npz` file.
pub fn names(file: &Path) -> Vec<String> {
    npyz::npz::NpzArchive::open(file).unwrap().array_names().map(str::to_string).collect()
}

/// Rows of several arrays below each other: each is `[1, ...]`.
pub fn stack(arrays: &[HostTensor]) -> HostTensor {
    let shape = arrays[0].shape().with_batch(arrays.len());
    HostTensor::new(shape, arrays.iter().flat_map(|array| array.data().to_vec()).collect()).unwrap()
}
