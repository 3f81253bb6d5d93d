//! Compiled records: what the compilers of real GPUs make of every kernel at the shapes of the models, and a model of
//! the time from that. No GPU is needed, and nothing is measured.

mod chip;
mod loops;
mod model;
mod ranking;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use chip::{CHIPS, Chip};
use model::{Modelled, model};

const BATCHES: [u64; 3] = [1, 8, 64];
const HEAD: &str = "layer,key,kernel,default,threads,registers,spilled,scratch_bytes,shared_bytes,instructions,latency,\
                    inverse_throughput,loop_fma,loop_other,loop_loads_per_fma,workgroups_8,ms_1,ms_8,ms_64,bound_8";

/// Compares the compiled records with the measured ones of the same maker.
pub fn compare(records: &Path) -> Outcome {
    let read = |file: &Path| fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    let files = |folder: &Path, extension: &str| -> Result<Vec<PathBuf>, String> {
        let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        Ok(files)
    };
    for compiled in files(&records.join("compiled"), "csv")? {
        let name = compiled.file_stem().unwrap_or_default().to_string_lossy().to_string();
        let modelled = ranking::modelled(&read(&compiled)?);
        for measured in files(records, "jsonl")? {
            let times = ranking::measured(&read(&measured)?, name.split('-').next().unwrap_or_default());
            if let Some(found) = ranking::agreement(&modelled, &times) {
                println!(
                    "{name} beside {}: {} layers and batches, rank correlation {:.2}, the kernel that the model takes needs {:.2} times the fastest's time",
                    measured.file_stem().unwrap_or_default().to_string_lossy(),
                    found.count,
                    found.correlation,
                    found.cost
                );
            }
        }
    }
    Ok(())
}

/// Without arguments, compiles every kernel with the driver of this machine. With a wrapper, a command `WRAPPER MAKER
/// CHIP PROGRAM...` that runs a program on the driver of a chip, writes the records of these chips, by default all.
pub fn run(tagwave: &Path, arguments: &[String], records: &Path) -> Outcome {
    let Some((wrapper, names)) = arguments.split_first() else {
        let output = compile(tagwave, "")?;
        println!("{} kernels compiled", output.len());
        return Ok(());
    };
    let unknown = names.iter().find(|name| !CHIPS.iter().any(|chip| chip.name == name.as_str()));
    if let Some(name) = unknown {
        let known: Vec<&str> = CHIPS.iter().map(|chip| chip.name).collect();
        return Err(format!("unknown chip {name}: choose from {}", known.join(", ")));
    }
    fs::create_dir_all(records).map_err(|error| format!("{}: {error}", records.display()))?;
    let mut spilled = Vec::new();
    for chip in CHIPS.iter().filter(|chip| names.is_empty() || names.iter().any(|name| name == chip.name)) {
        let kernels = compile(tagwave, &format!("{wrapper} {} {}", chip.maker.name(), chip.name))?;
        let rows: Vec<Row> = kernels.into_iter().map(|record| Row::new(chip, record)).collect();
        let file = records.join(format!("{}-{}.csv", chip.maker.name(), chip.name));
        let mut text = format!(
            "# compiled and modelled, not measured: {} ({}), {}\n{HEAD}\n",
            chip.name,
            chip.card,
            rows.first().map_or("", |row| row.record["driver"].as_str().unwrap_or_default())
        );
        rows.iter().for_each(|row| text.push_str(&row.csv()));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{}: {} kernels, {}", chip.name, rows.len(), file.display());
        summary(chip, &rows);
        let is_spilled =
            |row: &&Row| row.is_default() && (row.number("spilled") + row.number("scratch_bytes")) > 0;
        spilled.extend(rows.iter().filter(is_spilled).map(|row| {
            format!(
                "{}: {} {}: registers or local arrays in memory",
                chip.name,
                row.text("layer"),
                row.text("kernel")
            )
        }));
    }
    if spilled.is_empty() { Ok(()) } else { Err(spilled.join("\n")) }
}

/// Statistics of all kernels; the wrapper starts the compiling process.
fn compile(tagwave: &Path, wrapper: &str) -> Result<Vec<Value>, String> {
    let mut command = Command::new(tagwave);
    command.args(["bench", "compiled", "--device", "gpu", "--format", "jsonl"]);
    if !wrapper.is_empty() {
        command.args(["--under", wrapper]);
    }
    let output = command.output().map_err(|error| format!("{}: {error}", tagwave.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_string());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}

/// One kernel of a record.
struct Row {
    record: Value,
    /// By batch.
    modelled: BTreeMap<u64, Modelled>,
}

impl Row {
    fn new(chip: &Chip, record: Value) -> Row {
        let modelled = BATCHES.into_iter().filter_map(|batch| Some((batch, model(chip, &record, batch)?)));
        Row { modelled: modelled.collect(), record }
    }

    fn text(&self, field: &str) -> &str {
        self.record[field].as_str().unwrap_or_default()
    }

    fn number(&self, field: &str) -> u64 {
        self.record[field].as_u64().unwrap_or_default()
    }

    fn is_default(&self) -> bool {
        self.record["default"] == true
    }

    /// The loop with the most products: products, other arithmetic, loads.
    fn inner_loop(&self) -> [u64; 3] {
        let empty = Vec::new();
        let sections = self.record["sections"].as_array().unwrap_or(&empty);
        let count = |section: &Value, names: &[&str]| -> u64 {
            names.iter().map(|name| section[*name].as_u64().unwrap_or_default()).sum()
        };
        let found = sections.iter().max_by_key(|section| count(section, &["fma"]));
        found.map_or([0; 3], |section| {
            [
                count(section, &["fma"]),
                count(section, &["float", "integer", "slow"]),
                count(section, &["shared_loads", "memory_loads", "scalar_loads"]),
            ]
        })
    }

    fn csv(&self) -> String {
        let optional =
            |field: &str| self.record[field].as_u64().map_or(String::new(), |number| number.to_string());
        let [fma, other, loads] = self.inner_loop();
        let ms = |batch: u64| {
            self.modelled.get(&batch).map_or(String::new(), |found| format!("{:.4}", found.milliseconds))
        };
        let fields = [
            self.text("layer").to_string(),
            self.text("key").to_string(),
            self.text("kernel").to_string(),
            if self.is_default() { "yes" } else { "" }.to_string(),
            optional("threads"),
            optional("registers"),
            optional("spilled"),
            optional("scratch_bytes"),
            optional("shared_bytes"),
            optional("instructions"),
            optional("latency"),
            optional("inverse_throughput"),
            fma.to_string(),
            other.to_string(),
            if fma == 0 { String::new() } else { format!("{:.3}", loads as f64 / fma as f64) },
            self.record["workgroups"]["8"].as_u64().map_or(String::new(), |count| count.to_string()),
            ms(1),
            ms(8),
            ms(64),
            self.modelled.get(&8).map_or("", |found| found.bound).to_string(),
        ];
        fields.join(",") + "\n"
    }
}

/// Prints, for each convolution at batch 8, the default's modelled time beside the best.
fn summary(chip: &Chip, rows: &[Row]) {
    let mut layers: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.text("key").starts_with("conv2d f32")) {
        layers.entry(row.text("layer")).or_default().push(row);
    }
    println!("  {} ({}), modelled at batch 8:", chip.card, chip.name);
    for (layer, rows) in layers {
        let time = |row: &&Row| row.modelled.get(&8).map(|found| found.milliseconds);
        let best = rows
            .iter()
            .filter_map(|row| Some((time(row)?, row.text("kernel"))))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let default = rows.iter().find(|row| row.is_default());
        let default_ms = default.and_then(time).map_or("not modelled".into(), |ms| format!("{ms:.3} ms"));
        let best = best.map_or(String::new(), |(ms, kernel)| format!("{ms:.3} ms with {kernel}"));
        println!("  {layer:16} {default_ms:>12}  best {best}");
    }
}
