//! Weight files in safetensors format, with metadata on origin and layout.
//!
//! The same weights give the same bytes: the header is written here in sorted order, because the crate's writer has
//! metadata in a hash map. Reading uses the crate.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use half::f16;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::checkpoint::Variant;
use super::error::WeightsError;
use super::info::{WeightsFormat, WeightsInfo};
use super::named::Weights;
use super::table::finite;
use crate::tensor::{DType, HostTensor, MAX_RANK, Shape};

/// Version of metadata and array layout; other versions are refused.
pub const FORMAT_VERSION: &str = "1";

/// Layout of arrays in a file and in [`Weights`].
pub const LAYOUT: &str = "correlation; conv [O,C,F,T]; dense and gru [in,out]";

/// Meaning of the running statistics.
const READING: &str = "running_std holds a standard deviation, not a variance: \
                       y = (x - running_mean) * gamma / (running_std + 1e-6) + beta";

/// Maximum size of a header. The published models have about 10 kB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

const VERSION_KEY: &str = "tagwave_format";
const LAYOUT_KEY: &str = "layout";
/// Keys of [`WeightsInfo`]'s fields, and those of the format.
const KNOWN_KEYS: [&str; 9] = [
    VERSION_KEY,
    LAYOUT_KEY,
    "reading",
    "dtype",
    "model",
    "licence",
    "origin",
    "source_sha256",
    "source_variant",
];

/// Arrays by name, their origin, and all metadata of a file.
type SafetensorsFile = (BTreeMap<String, HostTensor>, WeightsInfo, BTreeMap<String, String>);

/// Reads all arrays by name, and the metadata.
pub(crate) fn read(bytes: &[u8]) -> Result<SafetensorsFile, WeightsError> {
    let damaged = |reason: String| WeightsError::Safetensors { reason };
    let header = match bytes.first_chunk::<8>() {
        Some(length) => u64::from_le_bytes(*length),
        None => return Err(damaged(format!("expected 8 bytes or more, found {}", bytes.len()))),
    };
    if header > MAX_HEADER_BYTES.min(bytes.len() as u64) {
        return Err(damaged(format!(
            "the header claims {header} bytes; the file has {}, and at most {MAX_HEADER_BYTES} are read",
            bytes.len()
        )));
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let info = read_info(metadata.metadata().as_ref())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let (shape, data) = (view.shape(), view.data());
        if shape.len() > MAX_RANK {
            return Err(WeightsError::Rank { name: name.to_string(), found: shape.len() });
        }
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect(),
            Dtype::F16 => {
                data.as_chunks::<2>().0.iter().map(|&word| f16::from_le_bytes(word).to_f32()).collect()
            }
            other => {
                let found = format!("{other:?}");
                return Err(WeightsError::Element { name: name.to_string(), expected: "F32 or F16", found });
            }
        };
        let tensor = HostTensor::new(Shape::new(shape), data).map_err(|error| damaged(error.to_string()))?;
        tensors.insert(name.to_string(), tensor);
    }
    let metadata = metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    Ok((tensors, info, metadata.collect()))
}

fn read_info(metadata: Option<&HashMap<String, String>>) -> Result<WeightsInfo, WeightsError> {
    let value = |key: &str| metadata.and_then(|metadata| metadata.get(key)).cloned();
    for (key, expected) in [(VERSION_KEY, FORMAT_VERSION), (LAYOUT_KEY, LAYOUT)] {
        let found = value(key);
        if found.as_deref() != Some(expected) {
            return Err(WeightsError::Metadata {
                key,
                expected: format!("\"{expected}\""),
                found: found.map_or("nothing".to_string(), |found| format!("{found:?}")),
            });
        }
    }
    Ok(WeightsInfo {
        format: Some(WeightsFormat::Safetensors),
        dtype: if value("dtype").as_deref() == Some("f16") { DType::F16 } else { DType::F32 },
        variant: value("source_variant").and_then(|word| {
            [Variant::Theano, Variant::TensorFlow].into_iter().find(|variant| variant.as_str() == word)
        }),
        source_sha256: value("source_sha256"),
        model: value("model"),
        licence: value("licence"),
        origin: value("origin"),
        metadata: metadata
            .into_iter()
            .flatten()
            .filter(|(key, _)| !KNOWN_KEYS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        ..WeightsInfo::default()
    })
}

fn metadata(info: &WeightsInfo, dtype: DType) -> BTreeMap<&str, String> {
    let mut metadata: BTreeMap<&str, String> =
        info.metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    metadata.extend([
        (VERSION_KEY, FORMAT_VERSION.to_string()),
        (LAYOUT_KEY, LAYOUT.to_string()),
        ("reading", READING.to_string()),
        ("dtype", dtype.to_string()),
    ]);
    let known = [
        ("model", info.model.clone()),
        ("licence", info.licence.clone()),
        ("origin", info.origin.clone()),
        ("source_sha256", info.source_sha256.clone()),
        ("source_variant", info.variant.map(|variant| variant.to_string())),
    ];
    metadata.extend(known.into_iter().filter_map(|(key, value)| Some((key, value?))));
    metadata
}

/// Checks that `weights` can be written as `dtype`: all numbers finite and in range.
///
/// # Errors
/// [`WeightsError::NotFinite`], [`WeightsError::HalfRange`].
pub(crate) fn writable(weights: &Weights, dtype: DType) -> Result<(), WeightsError> {
    for (name, tensor) in weights.iter() {
        finite(name, tensor.data())?;
        let overflows = |value: &f32| dtype == DType::F16 && !f16::from_f32(*value).is_finite();
        if let Some(index) = tensor.data().iter().position(overflows) {
            return Err(WeightsError::HalfRange {
                name: name.to_string(),
                index,
                value: tensor.data()[index],
            });
        }
    }
    Ok(())
}

/// Writes `weights`, which must be [`writable`], as one file.
pub(crate) fn write(weights: &Weights, dtype: DType, mut to: impl Write) -> io::Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".to_string(), json!(metadata(weights.info(), dtype)));
    let mut end = 0;
    for (name, tensor) in weights.iter() {
        let start = end;
        end += tensor.data().len() * dtype.size();
        let word = match dtype {
            DType::F32 => "F32",
            DType::F16 => "F16",
        };
        let extents = tensor.shape();
        let entry = json!({"dtype": word, "shape": extents.extents(), "data_offsets": [start, end]});
        header.insert(name.to_string(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Spaces up to a multiple of eight keep the arrays aligned.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    for (_, tensor) in weights.iter() {
        let bytes: Vec<u8> = match dtype {
            DType::F32 => tensor.data().iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::F16 => {
                tensor.data().iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
            }
        };
        to.write_all(&bytes)?;
    }
    to.flush()
}
