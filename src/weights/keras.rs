//! Reader of Keras 1 weight files (HDF5).
//!
//! The attribute `layer_names` of the root group lists groups, the attribute `weight_names` of each group lists datasets.
//! Only contiguous arrays of 32-bit floats are supported, as Keras 1 writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hdf5_reader::error::ByteOrder;
use hdf5_reader::group::Group;
use hdf5_reader::{Attribute, Dataset, Datatype, Hdf5File, OpenOptions};

use super::checkpoint::{Checkpoint, Variant};
use super::error::WeightsError;
use super::table::finite;
use crate::tensor::{HostTensor, MAX_RANK, Shape};

/// Maximum number of arrays of a file; the largest published model has 42.
const MAX_TENSORS: usize = 4096;

impl Checkpoint {
    /// Reads a file from memory. The variant is detected from the names of arrays.
    ///
    /// Arrays use no more memory than `bytes`, whatever the headers state.
    ///
    /// # Errors
    /// [`WeightsError::Hdf5`] for damage, [`WeightsError::NotKeras`] for other HDF5 files,
    /// [`WeightsError::Oversized`], [`WeightsError::Element`], [`WeightsError::Rank`],
    /// [`WeightsError::Duplicate`], [`WeightsError::TooManyTensors`], [`WeightsError::NotFinite`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Checkpoint, WeightsError> {
        // The HDF5 reader should not panic, but files are not trusted.
        catch_unwind(AssertUnwindSafe(|| read(bytes)))
            .unwrap_or_else(|_| Err(WeightsError::Hdf5 { reason: "the reader panicked".to_string() }))
    }
}

fn damaged(error: hdf5_reader::error::Error) -> WeightsError {
    WeightsError::Hdf5 { reason: error.to_string() }
}

fn read(bytes: Vec<u8>) -> Result<Checkpoint, WeightsError> {
    let size = bytes.len();
    let options = OpenOptions::default()
        .with_chunk_cache_bytes(0)
        .with_max_chunk_bytes(size)
        .with_max_read_bytes(size)
        .with_max_object_header_bytes(size);
    let file = Hdf5File::from_vec_with_options(bytes, options).map_err(damaged)?;
    let root = file.root_group().map_err(damaged)?;

    // Total size of arrays is limited to the size of the file, also if datasets are listed repeatedly.
    let mut budget = size as u64;
    let mut raw = Vec::new();
    for layer in strings(&root, "layer_names")? {
        let group = root.group(&layer).map_err(damaged)?;
        for name in strings(&group, "weight_names")? {
            if raw.len() == MAX_TENSORS {
                return Err(WeightsError::TooManyTensors { limit: MAX_TENSORS });
            }
            let dataset = group.dataset(&name).map_err(damaged)?;
            let tensor = read_tensor(&name, &dataset, &mut budget)?;
            raw.push((name, tensor));
        }
    }

    let variant = variant_of(raw.iter().map(|(name, _)| name.as_str()))?;
    let names = undecorated(raw.iter().map(|(name, _)| name.as_str()).collect(), variant);
    let mut tensors = BTreeMap::new();
    for (name, (decorated, tensor)) in names.into_iter().zip(raw) {
        if tensors.insert(name, tensor).is_some() {
            return Err(WeightsError::Duplicate { name: decorated });
        }
    }
    Ok(Checkpoint::new(variant, tensors))
}

/// Reads the list of names in attribute `key` of `group`.
fn strings(group: &Group, key: &str) -> Result<Vec<String>, WeightsError> {
    let absent =
        || WeightsError::NotKeras { found: format!("no attribute \"{key}\" on \"{}\"", group.name()) };
    let attribute: Attribute = match group.attribute(key) {
        Ok(attribute) => attribute,
        Err(hdf5_reader::error::Error::AttributeNotFound(_)) => return Err(absent()),
        Err(error) => return Err(damaged(error)),
    };
    // A layer without weights has an empty list of arbitrary element type.
    if attribute.num_elements().map_err(damaged)? == 0 {
        return Ok(Vec::new());
    }
    let names = attribute.read_strings().map_err(damaged)?;
    if names.len() as u64 != attribute.num_elements().map_err(damaged)? {
        return Err(WeightsError::Hdf5 { reason: format!("attribute \"{key}\" is truncated") });
    }
    Ok(names)
}

fn read_tensor(name: &str, dataset: &Dataset, budget: &mut u64) -> Result<HostTensor, WeightsError> {
    let name = || name.to_string();
    let element = |expected, found| WeightsError::Element { name: name(), expected, found };
    let order = match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, byte_order } => *byte_order,
        other => return Err(element("32-bit floats", format!("{other:?}"))),
    };
    if dataset.chunks().is_some() {
        return Err(element("contiguous storage", "chunks".to_string()));
    }
    let claimed = dataset.shape().iter().try_fold(4u64, |bytes, &extent| bytes.checked_mul(extent));
    let claimed = match claimed {
        Some(claimed) if claimed <= *budget => claimed,
        claimed => {
            let claimed = claimed.unwrap_or(u64::MAX);
            return Err(WeightsError::Oversized { name: name(), claimed, available: *budget });
        }
    };
    *budget -= claimed;
    if dataset.ndim() > MAX_RANK {
        return Err(WeightsError::Rank { name: name(), found: dataset.ndim() });
    }
    let shape: Vec<usize> = dataset.shape().iter().map(|&extent| extent as usize).collect();

    let bytes = dataset.read_raw_bytes().map_err(damaged)?;
    let (words, _) = bytes.as_chunks::<4>();
    let data: Vec<f32> = match order {
        ByteOrder::LittleEndian => words.iter().map(|&word| f32::from_le_bytes(word)).collect(),
        ByteOrder::BigEndian => words.iter().map(|&word| f32::from_be_bytes(word)).collect(),
    };
    finite(&name(), &data)?;
    HostTensor::new(Shape::new(&shape), data)
        .map_err(|error| WeightsError::Hdf5 { reason: error.to_string() })
}

fn variant_of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Variant, WeightsError> {
    let mut plain = None;
    let mut suffixed = None;
    for name in names {
        if name.ends_with(SUFFIX) { suffixed = Some(name) } else { plain = Some(name) }
    }
    match (plain, suffixed) {
        (Some(_), None) => Ok(Variant::Theano),
        (None, Some(_)) => Ok(Variant::TensorFlow),
        (Some(plain), Some(suffixed)) => Err(WeightsError::NotKeras {
            found: format!("names of two backends, \"{plain}\" and \"{suffixed}\""),
        }),
        (None, None) => Err(WeightsError::NotKeras { found: "no weights at all".to_string() }),
    }
}

/// Suffix of TensorFlow for the first output of an operation.
const SUFFIX: &str = ":0";

/// Removes backend suffixes from names. Theano has none. TensorFlow appends `:0`, and before it `_1` and so on if the name
/// was in use in the same process; the number is removed too, unless two names would become equal (`Variable:0` and
/// `Variable_1:0`).
fn undecorated(names: Vec<&str>, variant: Variant) -> Vec<String> {
    if variant == Variant::Theano {
        return names.into_iter().map(str::to_string).collect();
    }
    let plain: Vec<&str> = names.into_iter().map(|name| name.strip_suffix(SUFFIX).unwrap_or(name)).collect();
    let mut once = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for name in plain.iter().map(|name| without_number(name)) {
        if !once.insert(name) {
            twice.insert(name);
        }
    }
    let short = |name| if twice.contains(without_number(name)) { name } else { without_number(name) };
    plain.iter().map(|name| short(name).to_string()).collect()
}

/// Removes a trailing `_` and digits: `conv1_W_1` becomes `conv1_W`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((head, digits)) if !head.is_empty() && !digits.is_empty() => {
            if digits.bytes().all(|byte| byte.is_ascii_digit()) { head } else { name }
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoration_goes_and_inner_numbers_stay() {
        let names =
            vec!["conv1_W_1:0", "gru1_U_z:0", "batchnormalization_1_running_std:0", "bn_0_freq_gamma_1:0"];
        let expected = ["conv1_W", "gru1_U_z", "batchnormalization_1_running_std", "bn_0_freq_gamma"];
        assert_eq!(undecorated(names, Variant::TensorFlow), expected);
        let names = vec!["Variable:0", "Variable_1:0", "convolution2d_1_W:0"];
        assert_eq!(undecorated(names, Variant::TensorFlow), ["Variable", "Variable_1", "convolution2d_1_W"]);
        assert_eq!(undecorated(vec!["param_0", "param_1"], Variant::Theano), ["param_0", "param_1"]);
    }

    #[test]
    fn the_variant_is_in_the_names() {
        assert_eq!(variant_of(["a_W", "a_b"].into_iter()).ok(), Some(Variant::Theano));
        assert_eq!(variant_of(["a_W_1:0"].into_iter()).ok(), Some(Variant::TensorFlow));
        assert!(variant_of(["a_W", "a_b:0"].into_iter()).is_err());
        assert!(variant_of([].into_iter()).is_err());
    }
}
