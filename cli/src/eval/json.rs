//! The report as JSON: docs/evaluation.md lists its fields.

use serde_json::{Map, Value, json};

use super::report::EvalReport;
use tagwave::evaluation::{
    AreaDifferences, Comparison, Confusion, DefinedMean, Estimate, Fitted, Interval, MetricDifference,
    Overall, Reliability, TagMetrics,
};

/// Version of the report; incremented when a field changes its meaning or is removed.
const REPORT_SCHEMA: u32 = 1;

/// Number of names of a list that are written.
const MAX_NAMES: usize = 100;

/// The report in one line per field at the top, for diffs.
pub(super) fn json(report: &EvalReport) -> String {
    let found = &report.evaluation;
    let mut value = json!({
        "schema": REPORT_SCHEMA,
        "predictions": report.sources,
        "labels": report.labels,
        "model": report.made.as_ref().map(|(model, _)| model),
        "compat": report.made.as_ref().map(|(_, compat)| compat),
        "group": report.group,
        "tracks": found.items,
        "groups": found.groups,
        "failed": report.failed,
        "bootstrap": { "replicates": report.replicates, "seed": report.seed },
        "unmatched": unmatched(report),
        "tags": found.tags.iter().map(tag).collect::<Vec<_>>(),
        "overall": overall(&found.overall),
    });
    if let Some(comparison) = &report.comparison {
        value["comparison"] = comparison_of(report, comparison);
    }
    if let Some(fitted) = &report.fitted {
        value["fitted"] = fitted_of(fitted);
    }
    format!("{value:#}\n")
}

fn unmatched(report: &EvalReport) -> Value {
    let names = ["labels", "ambiguous", "predictions", "label_tags", "predicted_tags", "compared"];
    let lists = names.into_iter().zip(report.unmatched.lists());
    let value = lists.map(|(name, (_, list))| {
        let shown = &list[..list.len().min(MAX_NAMES)];
        (name.to_string(), json!({ "count": list.len(), "first": shown }))
    });
    Value::Object(value.collect::<Map<_, _>>())
}

fn interval(of: Option<Interval>) -> Value {
    of.map_or(Value::Null, |at| json!({ "low": at.low, "high": at.high, "replicates": at.replicates }))
}

fn estimate(of: &Estimate) -> Value {
    json!({ "value": of.value, "interval": interval(of.interval) })
}

fn counts(of: &Confusion) -> Value {
    json!({
        "true_positives": of.true_positives,
        "false_positives": of.false_positives,
        "false_negatives": of.false_negatives,
        "true_negatives": of.true_negatives,
        "precision": of.precision(),
        "recall": of.recall(),
        "f1": of.f1(),
    })
}

fn tag(of: &TagMetrics) -> Value {
    json!({
        "tag": of.tag,
        "positives": of.positives,
        "roc_auc": estimate(&of.roc_auc),
        "pr_auc": estimate(&of.average_precision),
        "threshold": of.threshold,
        "at_threshold": counts(&of.confusion),
        "ece": of.calibration_error,
        "brier": of.brier,
    })
}

fn overall(of: &Overall) -> Value {
    let mean = |of: Option<DefinedMean>| json!({ "value": of.map(|mean| mean.value), "tags": of.map_or(0, |mean| mean.count) });
    let top = of.top.iter().map(|top| {
        json!({
            "k": top.k,
            "tracks": top.items,
            "hit_rate": top.hit_rate,
            "precision": top.precision,
            "recall": top.recall,
        })
    });
    json!({
        "defined_tags": of.defined_tags,
        "macro": {
            "roc_auc": estimate(&of.macro_roc_auc),
            "pr_auc": estimate(&of.macro_average_precision),
            "precision": mean(of.macro_precision),
            "recall": mean(of.macro_recall),
            "f1": mean(of.macro_f1),
        },
        "micro": {
            "roc_auc": estimate(&of.micro_roc_auc),
            "pr_auc": estimate(&of.micro_average_precision),
            "at_threshold": counts(&of.confusion),
        },
        "top": top.collect::<Vec<_>>(),
        "ece": of.reliability.expected_error(),
        "brier": of.brier,
        "reliability": reliability(&of.reliability),
    })
}

fn reliability(of: &Reliability) -> Value {
    let bin = |bin: &tagwave::evaluation::ReliabilityBin| {
        let is_empty = bin.count == 0;
        json!({
            "low": bin.low,
            "high": bin.high,
            "count": bin.count,
            "mean_score": (!is_empty).then_some(bin.mean_score),
            "true_share": (!is_empty).then_some(bin.true_share),
        })
    };
    of.bins.iter().map(bin).collect()
}

fn comparison_of(report: &EvalReport, of: &Comparison) -> Value {
    let difference = |of: &MetricDifference| {
        json!({
            "first": of.first,
            "second": of.second,
            "difference": of.difference,
            "interval": interval(of.interval),
        })
    };
    let areas = |of: &AreaDifferences| json!({ "roc_auc": difference(&of.roc_auc), "pr_auc": difference(&of.average_precision) });
    let tag = |(tag, of): &(String, AreaDifferences)| json!({ "tag": tag, "roc_auc": difference(&of.roc_auc), "pr_auc": difference(&of.average_precision) });
    json!({
        "with": report.compared,
        "tags": of.tags.iter().map(tag).collect::<Vec<_>>(),
        "macro": areas(&of.macro_average),
        "micro": areas(&of.micro_average),
    })
}

fn fitted_of(of: &Fitted) -> Value {
    let tag = |tag: &tagwave::evaluation::FittedTag| {
        json!({
            "tag": tag.tag,
            "positives": tag.positives,
            "threshold": tag.cut.map(|cut| cut.threshold),
            "fit": tag.cut.map(|cut| counts(&cut.confusion)),
            "held_out": tag.held_out.as_ref().map(counts),
            "platt": tag.platt.map(|platt| [platt.a, platt.b]),
        })
    };
    let held_out = of.held_out.as_ref().map(|found| {
        json!({
            "ece": found.raw.expected_error(),
            "ece_calibrated": found.calibrated.expected_error(),
        })
    });
    json!({
        "temperature": of.temperature.map(|temperature| temperature.0),
        "tags": of.tags.iter().map(tag).collect::<Vec<_>>(),
        "held_out": held_out,
    })
}
