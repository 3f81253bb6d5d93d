//! Comparison of the model with measured records: whether it ranks kernels as a card of the same maker does.

use std::collections::BTreeMap;

use serde_json::Value;

/// Times by layer and batch, then by kernel.
type Times = BTreeMap<(String, u64), BTreeMap<String, f64>>;

/// Fewest kernels of a layer that are ranked.
const FEWEST: usize = 4;

/// Agreement of modelled with measured times.
#[derive(Debug, PartialEq)]
pub struct Agreement {
    /// Number of layers and batches.
    pub count: usize,
    /// Mean rank correlation (Spearman).
    pub correlation: f64,
    /// Mean of the measured time of the kernel that the model takes, over that of the fastest.
    pub cost: f64,
}

/// Modelled times of the convolutions of a compiled record.
pub fn modelled(csv: &str) -> Times {
    let mut lines = csv.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut times = Times::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell =
            |name: &str| names.iter().position(|known| *known == name).and_then(|place| cells.get(place));
        let (Some(key), Some(kernel)) = (cell("key"), cell("kernel")) else { continue };
        for (batch, column) in [(1, "ms_1"), (8, "ms_8"), (64, "ms_64")] {
            if let Some(milliseconds) = cell(column).and_then(|cell| cell.parse().ok()) {
                times.entry((key.to_string(), batch)).or_default().insert(kernel.to_string(), milliseconds);
            }
        }
    }
    times.retain(|(key, _), _| key.starts_with("conv2d f32"));
    times
}

/// Measured times of the lines of a record for devices of a maker.
pub fn measured(jsonl: &str, maker: &str) -> Times {
    let mut times = Times::new();
    for line in jsonl.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some(vendor), Some(key), Some(batch), Some(kernel), Some(milliseconds)) = (
            line["vendor"].as_str(),
            line["key"].as_str(),
            line["batch"].as_u64(),
            line["kernel"].as_str(),
            line["least_ms"].as_f64(),
        ) && vendor == maker
        {
            times.entry((key.into(), batch)).or_default().insert(kernel.into(), milliseconds);
        }
    }
    times
}

/// Compares the kernels that both have; `None` without any.
pub fn agreement(modelled: &Times, measured: &Times) -> Option<Agreement> {
    let (mut count, mut correlation, mut cost) = (0, 0.0, 0.0);
    for (layer, modelled) in modelled {
        let Some(measured) = measured.get(layer) else { continue };
        let both: Vec<[f64; 2]> =
            modelled.iter().filter_map(|(kernel, &time)| Some([time, *measured.get(kernel)?])).collect();
        if both.len() < FEWEST {
            continue;
        }
        let fastest = both.iter().map(|[_, time]| *time).fold(f64::INFINITY, f64::min);
        let taken = both.iter().min_by(|a, b| a[0].total_cmp(&b[0]))?;
        count += 1;
        cost += taken[1] / fastest;
        correlation += spearman(&both);
    }
    let mean = |sum: f64| sum / count as f64;
    (count > 0).then(|| Agreement { count, correlation: mean(correlation), cost: mean(cost) })
}

/// Spearman's rank correlation of pairs without ties.
fn spearman(pairs: &[[f64; 2]]) -> f64 {
    let ranks = |side: usize| -> Vec<usize> {
        let rank = |value: f64| pairs.iter().filter(|pair| pair[side] < value).count();
        pairs.iter().map(|pair| rank(pair[side])).collect()
    };
    let apart = ranks(0).into_iter().zip(ranks(1)).map(|(a, b)| a.abs_diff(b).pow(2) as f64);
    let count = pairs.len() as f64;
    1.0 - 6.0 * apart.sum::<f64>() / (count * (count * count - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_and_a_model() {
        let csv = "# modelled\nlayer,key,kernel,ms_1,ms_8,ms_64\n\
                   l,conv2d f32 a,k1,1,,\nl,conv2d f32 a,k2,2,,\nl,conv2d f32 a,k3,3,,\nl,conv2d f32 a,k4,4,,\nl,dense f32 a,k1,1,,\n";
        let row = |kernel: &str, ms: f64| {
            format!(
                "{{\"vendor\":\"nvidia\",\"key\":\"conv2d f32 a\",\"batch\":1,\"kernel\":\"{kernel}\",\"least_ms\":{ms}}}\n"
            )
        };
        let jsonl = [row("k1", 3.0), row("k2", 2.0), row("k3", 6.0), row("k4", 8.0)].concat();
        let found = agreement(&modelled(csv), &measured(&jsonl, "nvidia")).unwrap();
        // One swap of neighbours: 1 - 6 * 2 / 60.
        assert!(
            (found.correlation - 0.8).abs() < 1e-12 && found.cost == 1.5 && found.count == 1,
            "{found:?}"
        );
        assert_eq!(agreement(&modelled(csv), &measured(&jsonl, "amd")), None);
    }
}
