//! Built-in tuning table, generated from the records of `tagwave bench kernels`.
//!
//! For each type of device and layer, the newest record with more than one configuration is used: the configuration that
//! is fastest over all batch sizes of the record, with equal weight. Minimum times are compared, which other work on the
//! machine disturbs least. The default is kept unless another configuration is faster by more than noise.

use std::collections::BTreeMap;

use serde_json::Value;

/// Minimum speedup over the default.
const GAIN: f64 = 1.03;

/// Times of each configuration by batch size, and the default.
#[derive(Default)]
struct Timed {
    milliseconds: BTreeMap<String, BTreeMap<u64, f64>>,
    default: Option<String>,
}

/// Generates the table from `records`, JSON lines, oldest first; other lines are ignored.
pub fn choices(records: &[String]) -> String {
    let mut newest: BTreeMap<(&str, String), Timed> = BTreeMap::new();
    for record in records {
        for (layer, timed) in layers(record) {
            if timed.milliseconds.len() > 1 {
                newest.insert(layer, timed);
            }
        }
    }
    let mut table = String::from(
        "# Which config runs a layer by default, where it was measured: made by `cargo xtask choices` from the\n\
         # records in benches/records.\n",
    );
    for ((kind, layer), timed) in &newest {
        if let Some(fastest) = fastest(timed) {
            table.push_str(&format!("{kind}: {layer} = {fastest}\n"));
        }
    }
    table
}

/// Times of one record by kind of device and layer.
fn layers(record: &str) -> BTreeMap<(&'static str, String), Timed> {
    let mut layers: BTreeMap<_, Timed> = BTreeMap::new();
    for line in record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let word = |name: &str| line[name].as_str().map(String::from);
        let (Some(layer), Some(kernel), Some(software), Some(batch), Some(milliseconds)) = (
            word("key"),
            word("kernel"),
            line["software"].as_bool(),
            line["batch"].as_u64(),
            line["least_ms"].as_f64(),
        ) else {
            continue;
        };
        let kind = if software { "software" } else { "hardware" };
        let timed = layers.entry((kind, layer)).or_default();
        if line["default"] == true {
            timed.default = Some(kernel.clone());
        }
        timed.milliseconds.entry(kernel).or_default().insert(batch, milliseconds);
    }
    layers
}

/// The configuration with the smallest time, summed over batch sizes relative to the default or first one.
fn fastest(timed: &Timed) -> Option<&String> {
    let first = || timed.milliseconds.keys().next();
    let default = timed.default.as_ref().or_else(first)?;
    let base = timed.milliseconds.get(default)?;
    // Only configurations measured at all batch sizes of the default are compared.
    let share = |times: &BTreeMap<u64, f64>| -> Option<f64> {
        base.iter().map(|(batch, base)| times.get(batch).map(|time| time / base)).sum()
    };
    let shares = timed.milliseconds.iter().filter_map(|(kernel, times)| Some((kernel, share(times)?)));
    let (kernel, share) = shares.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(if share * GAIN < base.len() as f64 { kernel } else { default })
}
