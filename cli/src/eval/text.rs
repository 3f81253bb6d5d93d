//! The report as text.

use super::report::EvalReport;
use tagwave::evaluation::{
    Comparison, Confusion, Estimate, Evaluation, Fitted, FittedTag, Interval, MetricDifference,
};

/// A table whose first column is text and aligned left; the other columns are numbers and aligned right.
struct TextTable(Vec<Vec<String>>);

impl TextTable {
    fn new(header: &[&str]) -> TextTable {
        TextTable(vec![header.iter().map(ToString::to_string).collect()])
    }

    fn text(&self) -> String {
        let length = |cell: &String| cell.chars().count();
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.0.iter().filter_map(|row| row.get(column)).map(length).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
        };
        self.0.iter().map(line).collect()
    }
}

/// Value with three decimals, or `-` if it is not defined.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or(String::new(), |at| format!("[{:.3}, {:.3}]", at.low, at.high))
}

/// Value and its interval.
pub(super) fn estimate(of: &Estimate) -> String {
    format!("{} {}", number(of.value), interval(of.interval)).trim_end().to_string()
}

fn decisions(of: &Confusion) -> [String; 3] {
    [of.precision(), of.recall(), of.f1()].map(number)
}

/// The report.
pub(super) fn text(report: &EvalReport) -> String {
    let found = &report.evaluation;
    let mut text = head(report);
    text += "\n";
    text += &per_tag(found).text();
    text += "\n";
    text += &averages(found);
    if let Some(comparison) = &report.comparison {
        text += "\n";
        text += &differences(report, comparison);
    }
    if let Some(fitted) = &report.fitted {
        text += "\n";
        text += &thresholds(fitted);
    }
    text
}

/// First lines: inputs and counts.
pub(super) fn head(report: &EvalReport) -> String {
    let found = &report.evaluation;
    let made = report.made.as_ref().map_or(String::new(), |(model, compat)| format!(" ({model}, {compat})"));
    let failed = if report.failed > 0 { format!(", {} files failed", report.failed) } else { String::new() };
    let groups = report
        .group
        .as_ref()
        .map_or(String::new(), |group| format!(" in {} groups of {group:?}", found.groups));
    let intervals = if report.replicates > 0 && found.groups > 1 {
        format!("intervals: 95 %, {} bootstrap replicates, seed {}\n", report.replicates, report.seed)
    } else {
        String::new()
    };
    let sources = report.sources.join(", ");
    format!(
        "{sources}{made} against {}\n{} tracks{groups}, {} tags{failed}\n{intervals}",
        report.labels,
        found.items,
        found.tags.len()
    )
}

fn per_tag(found: &Evaluation) -> TextTable {
    let mut table = TextTable::new(&[
        "tag",
        "tracks",
        "ROC-AUC",
        "PR-AUC",
        "threshold",
        "precision",
        "recall",
        "F1",
        "ECE",
    ]);
    for tag in &found.tags {
        let mut row = vec![tag.tag.replace(char::is_control, "\u{fffd}"), tag.positives.to_string()];
        row.extend([estimate(&tag.roc_auc), estimate(&tag.average_precision), number(tag.threshold)]);
        row.extend(decisions(&tag.confusion));
        row.push(number(tag.calibration_error));
        table.0.push(row);
    }
    table
}

fn averages(found: &Evaluation) -> String {
    let overall = &found.overall;
    let mut table = TextTable::new(&["average", "ROC-AUC", "PR-AUC", "precision", "recall", "F1"]);
    let mean = |of: Option<tagwave::evaluation::DefinedMean>| number(of.map(|mean| mean.value));
    table.0.push(vec![
        format!("macro ({} of {} tags)", overall.defined_tags, found.tags.len()),
        estimate(&overall.macro_roc_auc),
        estimate(&overall.macro_average_precision),
        mean(overall.macro_precision),
        mean(overall.macro_recall),
        mean(overall.macro_f1),
    ]);
    let mut micro =
        vec!["micro".into(), estimate(&overall.micro_roc_auc), estimate(&overall.micro_average_precision)];
    micro.extend(decisions(&overall.confusion));
    table.0.push(micro);
    let mut text = table.text();
    for top in &overall.top {
        text += &format!(
            "top {}: hits {:.3}, precision {:.3}, recall {:.3}, over {} tracks with a tag\n",
            top.k, top.hit_rate, top.precision, top.recall, top.items
        );
    }
    let (error, brier) = (number(overall.reliability.expected_error()), number(overall.brier));
    text + &format!("calibration: expected error (ECE) {error}, Brier score {brier}\n")
}

fn differences(report: &EvalReport, comparison: &Comparison) -> String {
    let mut table = TextTable::new(&["difference", "ROC-AUC", "", "", "PR-AUC", "", ""]);
    let cells = |of: &MetricDifference| {
        let difference = of.difference.map_or("-".into(), |value| format!("{value:+.3}"));
        let interval = of.interval.map_or(String::new(), |at| format!(" [{:+.3}, {:+.3}]", at.low, at.high));
        [number(of.first), number(of.second), difference + &interval]
    };
    let averages = [("macro", &comparison.macro_average), ("micro", &comparison.micro_average)];
    let tags = comparison.tags.iter().map(|(tag, areas)| (&**tag, areas));
    for (name, areas) in tags.chain(averages) {
        let mut row = vec![name.replace(char::is_control, "\u{fffd}")];
        row.extend(cells(&areas.roc_auc));
        row.extend(cells(&areas.average_precision));
        table.0.push(row);
    }
    let other = report.compared.as_deref().unwrap_or_default();
    format!("compared with {other}: first, second, first - second\n{}", table.text())
}

fn thresholds(fitted: &Fitted) -> String {
    let mut table =
        TextTable::new(&["fitted", "tracks", "threshold", "precision", "recall", "F1", "calibration"]);
    for tag in &fitted.tags {
        let mut row = vec![tag.tag.replace(char::is_control, "\u{fffd}"), tag.positives.to_string()];
        row.push(number(tag.cut.map(|cut| cut.threshold)));
        row.extend(decisions(&shown(tag)));
        row.push(match (tag.platt, fitted.temperature) {
            (Some(platt), _) => format!("a {:.3} b {:+.3}", platt.a, platt.b),
            (None, Some(temperature)) => format!("T {:.3}", temperature.0),
            (None, None) => "-".into(),
        });
        table.0.push(row);
    }
    let mut text = table.text();
    match &fitted.held_out {
        Some(held_out) => {
            let error = |of: &tagwave::evaluation::Reliability| number(of.expected_error());
            text +=
                "precision, recall and F1 on tracks left out of the fit (5-fold cross-validation by group)\n";
            text += &format!(
                "calibration error (ECE) on them: {} as they are, {} calibrated\n",
                error(&held_out.raw),
                error(&held_out.calibrated)
            );
        }
        None => {
            text += "precision, recall and F1 on the tracks of the fit, too high for others: too few groups for \
                     cross-validation\n";
        }
    }
    text
}

/// Counts on held-out tracks, else on those of the fit.
fn shown(tag: &FittedTag) -> Confusion {
    tag.held_out.or(tag.cut.map(|cut| cut.confusion)).unwrap_or_default()
}
