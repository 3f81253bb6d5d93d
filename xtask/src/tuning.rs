//! Built-in tuning table, generated from the records of `tagwave bench kernels`.
//!
//! For each kind of device and layer the newest record that timed it with more than one configuration decides: the
//! configuration that is fastest over all batches of the record, each batch counting the same. The shortest run of each
//! counts, which other work on the machine disturbs the least. The default of the day stays unless another is faster
//! by more than noise. Records by submission, as browsers make them, decide only where no device timed the kernels itself.
//!
//! Vendors without a measured record take what the compiled records of their chips (`cargo xtask kernels`) model as the
//! fastest over all chips and batches, each counting the same.

use std::collections::BTreeMap;

use serde_json::Value;

/// Another configuration must be this much faster than the default to replace it.
const GAIN: f64 = 1.03;

/// Time of each configuration at each batch, and which one was the default.
#[derive(Default)]
struct Timed {
    milliseconds: BTreeMap<String, BTreeMap<u64, f64>>,
    default: Option<String>,
}

/// Compiled record: vendor and text of a CSV file.
pub type Compiled = (String, String);

/// The table of `records`, texts of JSON lines, the oldest first (lines of other records are passed over), and of compiled
/// records.
pub fn table(records: &[String], compiled: &[Compiled]) -> String {
    let mut newest: BTreeMap<(&str, String), Timed> = BTreeMap::new();
    for by_submission in [true, false] {
        for record in records {
            for (layer, timed) in layers(record, by_submission) {
                if timed.milliseconds.len() > 1 {
                    newest.insert(layer, timed);
                }
            }
        }
    }
    let mut table = String::from(
        "# Kernel configuration of a layer by default, where it was measured: made by `cargo xtask tuning` from the\n\
         # records in benches/records. Lines of amd are from compiled records: modelled, not measured.\n",
    );
    let is_measured = |vendor: &str| newest.keys().any(|(kind, _)| *kind == vendor);
    for ((vendor, layer), modelled) in &modelled(compiled) {
        if let Some(fastest) = fastest(modelled).filter(|_| !is_measured(vendor)) {
            table.push_str(&format!("{vendor}: {layer} = {fastest}\n"));
        }
    }
    for ((kind, layer), timed) in &newest {
        if let Some(fastest) = fastest(timed) {
            table.push_str(&format!("{kind}: {layer} = {fastest}\n"));
        }
    }
    table
}

/// Times of one record by kind of device and layer: those of submissions, or those that devices measured.
fn layers(record: &str, by_submission: bool) -> BTreeMap<(&'static str, String), Timed> {
    let mut layers: BTreeMap<_, Timed> = BTreeMap::new();
    for line in record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if (line["timer"] == "submission") != by_submission {
            continue;
        }
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
        let kind = if software { "software" } else { vendor(&line) };
        let timed = layers.entry((kind, layer)).or_default();
        if line["default"] == true {
            timed.default = Some(kernel.clone());
        }
        timed.milliseconds.entry(kernel).or_default().insert(batch, milliseconds);
    }
    layers
}

/// Modelled times of compiled records by vendor and layer; the batches of each chip are numbered on.
fn modelled(compiled: &[Compiled]) -> BTreeMap<(&str, String), Timed> {
    let mut layers: BTreeMap<(&str, String), Timed> = BTreeMap::new();
    for (chip, (vendor, text)) in compiled.iter().enumerate() {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let cell =
                |name: &str| names.iter().position(|known| *known == name).and_then(|place| cells.get(place));
            let (Some(&key), Some(&kernel)) = (cell("key"), cell("kernel")) else { continue };
            let timed = layers.entry((vendor.as_str(), key.to_string())).or_default();
            if cell("default") == Some(&"yes") {
                timed.default = Some(kernel.to_string());
            }
            for (batch, name) in ["ms_1", "ms_8", "ms_64"].into_iter().enumerate() {
                if let Some(milliseconds) = cell(name).and_then(|cell| cell.parse().ok()) {
                    let number = (3 * chip + batch) as u64;
                    timed.milliseconds.entry(kernel.to_string()).or_default().insert(number, milliseconds);
                }
            }
        }
    }
    layers.retain(|_, timed| timed.milliseconds.len() > 1);
    layers
}

/// Maker of the device of a record; hardware of an unknown maker decides for no other.
fn vendor(line: &Value) -> &'static str {
    let vendor = line["vendor"].as_str();
    ["amd", "apple", "intel", "nvidia"].into_iter().find(|&name| vendor == Some(name)).unwrap_or("other")
}

/// The configuration with the least time, summed over batches as shares of the default's or the first one's.
fn fastest(timed: &Timed) -> Option<&String> {
    let first = || timed.milliseconds.keys().next();
    let default = timed.default.as_ref().or_else(first)?;
    let base = timed.milliseconds.get(default)?;
    // Only configurations that ran at every batch that the default ran at can be compared.
    let share = |times: &BTreeMap<u64, f64>| -> Option<f64> {
        base.iter().map(|(batch, base)| times.get(batch).map(|time| time / base)).sum()
    };
    let shares = timed.milliseconds.iter().filter_map(|(kernel, times)| Some((kernel, share(times)?)));
    let (kernel, share) = shares.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(if share * GAIN < base.len() as f64 { kernel } else { default })
}
