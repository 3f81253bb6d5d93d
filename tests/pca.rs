//! Principal components against NumPy's SVD.
#![cfg(all(feature = "cpu", feature = "gpu"))]

mod common;

use std::path::Path;

use common::npz;
use tagwave::pca::{Loss, MAX_DIMENSIONS, Moments, PcaError};
use tagwave::tensor::{HostTensor, Shape};
use tagwave::test_cases::{Tolerance, compare};

fn golden(name: &str) -> HostTensor {
    npz::array(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pca/pca.npz"), name)
}

fn agrees(name: &str, found: &[f64]) {
    let expected = golden(name);
    let found = found.iter().map(|&value| value as f32).collect();
    let found = HostTensor::new(Shape::new(expected.shape().extents()), found).unwrap();
    // Both are computed in f64 and compared as f32.
    let difference = compare(&found, &expected, Tolerance { absolute: 1e-5, relative: 1e-6 });
    assert!(difference.within, "{name}: {difference}");
}

#[test]
fn components_are_those_of_the_singular_value_decomposition() {
    let rows = golden("rows");
    let (count, dimensions) = (rows.shape().extent(0), rows.shape().extent(1));
    let mut moments = Moments::new(dimensions).unwrap();
    (0..count).for_each(|i| moments.push(rows.row(i)).unwrap());
    let found = moments.components(golden("components").shape().extent(0)).unwrap();
    agrees("mean", &found.mean);
    agrees("components", &found.directions.concat());
    agrees("variances", &found.variances);
    agrees("total_variance", &[found.total_variance]);

    let mut loss = Loss::default();
    let mut projected = Vec::new();
    for i in 0..count {
        let coordinates = found.project(rows.row(i));
        loss.push(rows.row(i), &found.recover(&coordinates));
        projected.extend(coordinates);
    }
    agrees("projected", &projected);
    agrees("loss", &[loss.mean()]);
    assert_eq!((loss.zeros, loss.features), (1, (count * dimensions) as u64 - 1));
}

#[test]
fn all_components_lose_nothing() {
    let rows = golden("rows");
    let mut moments = Moments::new(7).unwrap();
    (0..rows.shape().extent(0)).for_each(|i| moments.push(rows.row(i)).unwrap());
    let found = moments.components(7).unwrap();
    let mut loss = Loss::default();
    (0..41).for_each(|i| loss.push(rows.row(i), &found.recover(&found.project(rows.row(i)))));
    assert!(loss.mean() < 1e-9, "{}", loss.mean());
}

#[test]
fn the_largest_rows_and_the_fewest() {
    let mut moments = Moments::new(MAX_DIMENSIONS).unwrap();
    for row in 0..5 {
        let values: Vec<f32> = (0..MAX_DIMENSIONS).map(|i| ((row * 37 + i * 11) % 251) as f32).collect();
        moments.push(&values).unwrap();
    }
    let found = moments.components(5).unwrap();
    assert!(found.variances.windows(2).all(|pair| pair[0] >= pair[1]));
    assert!(found.variances.iter().all(|variance| variance.is_finite() && *variance >= 0.0));
    assert_eq!(
        moments.components(6),
        Err(PcaError::Count { found: 6, most: 5, rows: 5, dimensions: MAX_DIMENSIONS })
    );
    assert!(moments.components(0).is_err());
    assert_eq!(moments.push(&[0.0]), Err(PcaError::Length { expected: MAX_DIMENSIONS, found: 1 }));
    assert_eq!(Moments::new(MAX_DIMENSIONS + 1).err(), Some(PcaError::Dimensions { found: 257 }));
    assert!(Moments::new(0).is_err());
}
