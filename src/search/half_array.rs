//! Arrays `[rows, D]` of half precision in the format of NumPy (NEP 1, version 1.0), which other programs read.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::error::SearchError;
use crate::atomic_file::{create_beside, publish};

/// Size of the header in bytes.
const HEADER_BYTES: usize = 128;
/// Number of values that are converted at a time.
const CHUNK: usize = 1 << 16;

fn header(rows: usize, columns: usize) -> Vec<u8> {
    let dict = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((HEADER_BYTES as u16 - 10).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// Writes an array as a whole.
pub(super) fn write(path: &Path, values: &[f32], columns: usize) -> Result<(), SearchError> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let written = || {
        let temp = create_beside(path)?;
        let mut writer = BufWriter::new(temp.as_file());
        writer.write_all(&header(rows, columns))?;
        let mut halves = vec![f16::ZERO; CHUNK];
        for part in values.chunks(CHUNK) {
            let halves = &mut halves[..part.len()];
            halves.convert_from_f32_slice(part);
            halves.iter_mut().for_each(|half| *half = f16::from_bits(half.to_bits().to_le()));
            writer.write_all(bytemuck::cast_slice(halves))?;
        }
        writer.flush()?;
        drop(writer);
        publish(temp, path)
    };
    written().map(drop).map_err(|error| SearchError::io(path, error))
}

/// Reads an array of a known shape.
pub(super) fn read(path: &Path, rows: usize, columns: usize) -> Result<Vec<f32>, SearchError> {
    let expected = || SearchError::format(path, format!("an array of half floats, {rows} rows of {columns}"));
    let mut file = File::open(path).map_err(|error| SearchError::io(path, error))?;
    let size = file.metadata().map_err(|error| SearchError::io(path, error))?.len();
    let count = rows.checked_mul(columns).ok_or_else(expected)?;
    // Memory is allocated only for values that are there.
    if size != (count as u64).saturating_mul(2).saturating_add(HEADER_BYTES as u64) {
        return Err(expected());
    }
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head).map_err(|error| SearchError::io(path, error))?;
    if head[..] != header(rows, columns) {
        return Err(expected());
    }
    let mut values = vec![0.0; count];
    let mut halves = vec![f16::ZERO; CHUNK];
    for part in values.chunks_mut(CHUNK) {
        let halves = &mut halves[..part.len()];
        file.read_exact(bytemuck::cast_slice_mut(halves)).map_err(|error| SearchError::io(path, error))?;
        halves.iter_mut().for_each(|half| *half = f16::from_bits(u16::from_le(half.to_bits())));
        halves.convert_to_f32_slice(part);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_as_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values: Vec<f32> = (0..90_000).map(|i| (i as f32 * 0.37).sin()).collect();
        write(&path, &values, 3).unwrap();
        let found = read(&path, 30_000, 3).unwrap();
        assert!(found.iter().zip(&values).all(|(a, b)| *a == f16::from_f32(*b).to_f32()));
        for (rows, columns) in [(30_001, 3), (3, 30_000), (usize::MAX, 2), (0, 0)] {
            assert!(read(&path, rows, columns).is_err(), "{rows} {columns}");
        }
        write(&path, &[], 0).unwrap();
        assert!(read(&path, 0, 0).unwrap().is_empty());
    }
}
