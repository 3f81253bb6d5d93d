//! The report as a page of HTML with inline SVG, without scripts and external files.

use super::report::EvalReport;
use super::text::{estimate, head, number, text};
use tagwave::evaluation::{LabelledScores, Reliability, TagMetrics};

/// Side of a diagram in pixels.
const SIDE: f64 = 320.0;
/// Space around a diagram for its axes.
const MARGIN: f64 = 44.0;
/// Maximum number of points of a curve.
const MAX_POINTS: usize = 400;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .6rem;text-align:right}\
td:first-child,th:first-child{text-align:left}tr:nth-child(even) td{background:#f4f4f4}\
th{border-bottom:1px solid #888}pre{overflow:auto;background:#f4f4f4;padding:.8rem}figure{display:inline-block;margin:0 1rem 1rem 0}\
svg text{font-size:11px;fill:#444}.axis{fill:none;stroke:#888}.guide{stroke:#bbb;stroke-dasharray:4}\
.tag{fill:none;stroke:#9bbbd8;stroke-width:.8}.all{fill:none;stroke:#124e82;stroke-width:2}.bar{fill:#124e82}.range{stroke:#124e82;stroke-width:2}";

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The page.
pub(super) fn page(report: &EvalReport, data: &LabelledScores) -> String {
    let found = &report.evaluation;
    let overall = &found.overall;
    let averages = [
        ("macro ROC-AUC", &overall.macro_roc_auc),
        ("macro PR-AUC", &overall.macro_average_precision),
        ("micro ROC-AUC", &overall.micro_roc_auc),
        ("micro PR-AUC", &overall.micro_average_precision),
    ];
    let row = |(name, of): (&str, &tagwave::evaluation::Estimate)| {
        format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(&estimate(of)))
    };
    let averages: String = averages.into_iter().map(row).collect();
    let head = escape(&head(report)).replace('\n', "<br>\n");
    let tags: String = found.tags.iter().map(tag_row).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>tagwave eval</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Evaluation of tags</h1>\n<p>{head}</p>\n\
         <table>\n{averages}</table>\n<h2>Curves</h2>\n{roc}\n{reliability}\n<h2>Tags</h2>\n{areas}\n\
         <table>\n<tr><th>tag</th><th>tracks</th><th>ROC-AUC</th><th>PR-AUC</th><th>threshold</th><th>precision</th>\
         <th>recall</th><th>F1</th><th>ECE</th></tr>\n{tags}</table>\n<h2>All figures</h2>\n<pre>{all}</pre>\n</body>\n</html>\n",
        roc = roc(data),
        reliability = diagram(&overall.reliability),
        areas = areas(&found.tags),
        all = escape(&text(report)),
    )
}

fn tag_row(of: &TagMetrics) -> String {
    let counts = &of.confusion;
    let cells = [
        escape(&of.tag),
        of.positives.to_string(),
        escape(&estimate(&of.roc_auc)),
        escape(&estimate(&of.average_precision)),
        number(of.threshold),
        number(counts.precision()),
        number(counts.recall()),
        number(counts.f1()),
        number(of.calibration_error),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr>{cells}</tr>\n")
}

/// Place of a value of 0..1 on the horizontal axis.
fn x(value: f64) -> f64 {
    MARGIN + value * SIDE
}

/// Place of a value of 0..1 on the vertical axis.
fn y(value: f64) -> f64 {
    10.0 + (1.0 - value) * SIDE
}

/// A square diagram of 0..1 with its diagonal.
fn square(title: &str, horizontal: &str, vertical: &str, content: &str) -> String {
    let (width, height) = (SIDE + MARGIN + 20.0, SIDE + MARGIN + 10.0);
    let ticks: String = [0.0, 0.5, 1.0]
        .iter()
        .map(|&at| {
            format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{at}</text>",
                x(at),
                y(0.0) + 14.0,
                x(0.0) - 4.0,
                y(at) + 4.0
            )
        })
        .collect();
    format!(
        "<figure><svg role=\"img\" aria-label=\"{title}\" width=\"{width}\" height=\"{height}\">\
         <rect class=\"axis\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{SIDE}\" height=\"{SIDE}\"/>\
         <line class=\"guide\" x1=\"{left:.1}\" y1=\"{bottom:.1}\" x2=\"{right:.1}\" y2=\"{top:.1}\"/>{ticks}{content}\
         <text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{horizontal}</text>\
         <text transform=\"translate(12 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">{vertical}</text></svg>\
         <figcaption>{title}</figcaption></figure>",
        left = x(0.0),
        right = x(1.0),
        top = y(1.0),
        bottom = y(0.0),
        middle = x(0.5),
        centre = y(0.5),
        low = y(0.0) + 30.0,
    )
}

/// A curve with at most [`MAX_POINTS`] points, first and last included.
fn curve(points: &[(f64, f64)], class: &str) -> String {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
    let places: Vec<String> = kept.map(|(_, &(h, v))| format!("{:.1},{:.1}", x(h), y(v))).collect();
    format!("<polyline class=\"{class}\" points=\"{}\"/>", places.join(" "))
}

/// ROC curves of all tags, and of all pairs.
fn roc(data: &LabelledScores) -> String {
    let mut content = String::new();
    for tag in 0..data.tags().len() {
        let points = data.ranking(tag).roc_curve();
        if !points.is_empty() {
            content += &curve(&points, "tag");
        }
    }
    let pooled = data.pooled_ranking().roc_curve();
    if !pooled.is_empty() {
        content += &curve(&pooled, "all");
    }
    square(
        "ROC: each tag, and all pairs of track and tag (dark)",
        "false positive rate",
        "true positive rate",
        &content,
    )
}

/// Reliability diagram.
fn diagram(of: &Reliability) -> String {
    let filled: Vec<_> = of.bins.iter().filter(|bin| bin.count > 0).collect();
    let points: Vec<(f64, f64)> =
        filled.iter().map(|bin| (bin.mean_score.clamp(0.0, 1.0), bin.true_share)).collect();
    let mut content = curve(&points, "all");
    for (bin, (h, v)) in filled.iter().zip(&points) {
        content += &format!(
            "<circle class=\"bar\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{} pairs</title></circle>",
            x(*h),
            y(*v),
            bin.count
        );
    }
    square(
        "Reliability: on the diagonal, scores are frequencies",
        "mean score",
        "share of true tags",
        &content,
    )
}

/// ROC-AUC of each tag with its interval.
fn areas(tags: &[TagMetrics]) -> String {
    const ROW: f64 = 18.0;
    const LABEL: f64 = 180.0;
    let place = |value: f64| LABEL + value * SIDE;
    let height = tags.len() as f64 * ROW + 24.0;
    let mut content = String::new();
    for (index, tag) in tags.iter().enumerate() {
        let middle = index as f64 * ROW + 12.0;
        let (label, baseline) = (escape(&tag.tag), middle + 4.0);
        content +=
            &format!("<text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{label}</text>", LABEL - 8.0);
        if let Some(at) = tag.roc_auc.interval {
            content += &format!(
                "<line class=\"range\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>",
                place(at.low),
                place(at.high)
            );
        }
        if let Some(value) = tag.roc_auc.value {
            content +=
                &format!("<circle class=\"bar\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"3.5\"/>", place(value));
        }
    }
    let bottom = height - 20.0;
    for at in [0.0, 0.5, 1.0] {
        content += &format!(
            "<line class=\"guide\" x1=\"{h:.1}\" y1=\"0\" x2=\"{h:.1}\" y2=\"{bottom:.1}\"/>\
             <text x=\"{h:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{at}</text>",
            h = place(at),
            low = bottom + 14.0
        );
    }
    format!(
        "<figure><svg role=\"img\" aria-label=\"ROC-AUC of each tag\" width=\"{:.0}\" height=\"{height:.0}\">{content}</svg>\
         <figcaption>ROC-AUC of each tag, with its interval of 95 %</figcaption></figure>",
        LABEL + SIDE + 20.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<b a=\"1\">&\u{1b}"), "&lt;b a=&quot;1&quot;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn long_curves_keep_their_ends() {
        let points: Vec<(f64, f64)> =
            (0..=10_000).map(|i| (f64::from(i) / 1e4, f64::from(i) / 1e4)).collect();
        let line = curve(&points, "all");
        assert!(line.matches(',').count() <= MAX_POINTS + 1);
        assert!(line.contains("\"44.0,330.0 ") && line.ends_with("364.0,10.0\"/>"), "{line}");
    }
}
