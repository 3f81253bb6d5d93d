//! Metrics against scikit-learn, on generated and degenerate data (tests/golden/evaluation/make.py).

use std::cell::Cell;
use std::path::Path;

use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tagwave::evaluation::{
    Confusion, Estimate, Evaluation, EvaluationOptions, LabelledScores, Mapping, Platt, Ranking, Reliability,
    TagRules, TagSource, Temperature, evaluate, reliability, top_k,
};

/// Tolerance of all comparisons: both sides compute in f64.
const TOLERANCE: f64 = 1e-9;

struct Case {
    name: String,
    data: LabelledScores,
    groups: Vec<usize>,
    expected: Value,
}

struct Golden {
    settings: Value,
    cases: Vec<Case>,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/evaluation/evaluation.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().iter().map(|case| {
        let flat =
            |key: &str| -> Vec<f64> { case[key].as_array().unwrap().iter().flat_map(numbers).collect() };
        let count = case["truth"][0].as_array().unwrap().len();
        let tags = (0..count).map(|tag| format!("tag {tag}")).collect();
        let truth = flat("truth").into_iter().map(|label| label == 1.0).collect();
        Case {
            name: case["name"].as_str().unwrap().into(),
            data: LabelledScores::new(tags, flat("scores"), truth).unwrap(),
            groups: numbers(&case["groups"]).into_iter().map(|group| group as usize).collect(),
            expected: case["expected"].clone(),
        }
    });
    Golden { cases: cases.collect(), settings: file["settings"].clone() }
}

/// Largest difference that was seen, and the number of comparisons.
#[derive(Default)]
struct Worst {
    error: f64,
    count: usize,
}

impl Worst {
    /// Compares a value that may not be defined.
    fn check(&mut self, name: &str, found: Option<f64>, expected: &Value) {
        self.count += 1;
        match (found, expected.as_f64()) {
            (None, None) => assert!(expected.is_null(), "{name}: {expected}"),
            (Some(found), Some(expected)) => {
                let error = (found - expected).abs();
                assert!(error <= TOLERANCE, "{name}: {found} instead of {expected}");
                self.error = self.error.max(error);
            }
            _ => panic!("{name}: {found:?} instead of {expected}"),
        }
    }

    fn counts(&mut self, name: &str, found: &Confusion, expected: &Value) {
        self.check(&format!("{name} precision"), found.precision(), &expected["precision"]);
        self.check(&format!("{name} recall"), found.recall(), &expected["recall"]);
        self.check(&format!("{name} F1"), found.f1(), &expected["f1"]);
    }

    /// Compares the bins that have entries.
    fn bins(&mut self, name: &str, found: &Reliability, expected: &Value) {
        let bins: Vec<_> = found.bins.iter().filter(|bin| bin.count > 0).collect();
        let (shares, means) =
            (expected["true_share"].as_array().unwrap(), expected["mean_score"].as_array().unwrap());
        assert_eq!((bins.len(), bins.len()), (shares.len(), means.len()), "{name}");
        for ((bin, share), mean) in bins.into_iter().zip(shares).zip(means) {
            self.check(name, Some(bin.true_share), share);
            self.check(name, Some(bin.mean_score), mean);
        }
        self.check(&format!("{name} ECE"), found.expected_error(), &expected["ece"]);
    }

    fn interval(&mut self, name: &str, found: &Estimate, expected: &Value) {
        let interval = found.interval;
        self.check(&format!("{name} low"), interval.map(|at| at.low), &expected["low"]);
        self.check(&format!("{name} high"), interval.map(|at| at.high), &expected["high"]);
        self.check(name, interval.map(|at| at.replicates as f64), &expected["replicates"]);
    }
}

fn evaluated(case: &Case, settings: &Value) -> Evaluation {
    let options = EvaluationOptions {
        thresholds: vec![settings["threshold"].as_f64(); case.data.tags().len()],
        top: vec![1, 2],
        bins: settings["bins"].as_u64().unwrap() as usize,
        replicates: settings["replicates"].as_u64().unwrap() as usize,
        seed: settings["seed"].as_u64().unwrap(),
    };
    evaluate(&case.data, &case.groups, &options).unwrap()
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    let golden = golden();
    let mut worst = Worst::default();
    for case in &golden.cases {
        let (found, expected) = (evaluated(case, &golden.settings), &case.expected);
        let bins = golden.settings["bins"].as_u64().unwrap() as usize;
        for (index, (tag, expected)) in
            found.tags.iter().zip(expected["tags"].as_array().unwrap()).enumerate()
        {
            let name = format!("{}, {}", case.name, tag.tag);
            worst.check(&format!("{name}: ROC-AUC"), tag.roc_auc.value, &expected["roc_auc"]);
            let precision = tag.average_precision.value;
            worst.check(&format!("{name}: AP"), precision, &expected["average_precision"]);
            worst.counts(&name, &tag.confusion, expected);
            worst.check(&format!("{name}: Brier"), tag.brier, &expected["brier"]);
            let (scores, truth) = case.data.column(index);
            let bins = reliability(scores.into_iter().zip(truth), bins);
            worst.bins(&name, &bins, &expected["reliability"]);
            assert_eq!(tag.calibration_error, bins.expected_error());
        }
        let (overall, name) = (&found.overall, &case.name);
        let macro_areas = [overall.macro_roc_auc, overall.macro_average_precision];
        worst.check(&format!("{name}: macro AUC"), macro_areas[0].value, &expected["macro_roc_auc"]);
        worst.check(&format!("{name}: macro AP"), macro_areas[1].value, &expected["macro_average_precision"]);
        worst.check(&format!("{name}: micro AUC"), overall.micro_roc_auc.value, &expected["micro_roc_auc"]);
        let micro = overall.micro_average_precision.value;
        worst.check(&format!("{name}: micro AP"), micro, &expected["micro_average_precision"]);
        for (mean, key) in [
            (overall.macro_precision, "precision"),
            (overall.macro_recall, "recall"),
            (overall.macro_f1, "f1"),
        ] {
            worst.check(
                &format!("{name}: macro {key}"),
                mean.map(|mean| mean.value),
                &expected["macro"][key],
            );
        }
        worst.counts(&format!("{name}: micro"), &overall.confusion, &expected["micro"]);
        worst.check(&format!("{name}: Brier"), overall.brier, &expected["brier"]);
        worst.bins(name, &overall.reliability, &expected["reliability"]);
        for (k, share) in expected["top"].as_array().into_iter().flatten().enumerate() {
            worst.check(
                &format!("{name}: top {}", k + 1),
                top_k(&case.data, k + 1).map(|top| top.hit_rate),
                share,
            );
        }
    }
    println!("{} values, largest difference {:.1e}", worst.count, worst.error);
    assert!(worst.count > 400, "{}", worst.count);
    assert!(golden.cases.iter().any(|case| case.expected["top"].is_array()));
}

/// The same draws, with the metrics of scikit-learn by sample weights and the quantiles of NumPy.
#[test]
fn bootstrap_intervals_are_those_of_scikit_learn_on_the_same_draws() {
    let golden = golden();
    let mut worst = Worst::default();
    for case in &golden.cases {
        let found = evaluated(case, &golden.settings);
        let overall = &found.overall;
        let mut estimates: Vec<Estimate> = found.tags.iter().map(|tag| tag.roc_auc).collect();
        estimates.extend(found.tags.iter().map(|tag| tag.average_precision));
        estimates.extend([overall.macro_roc_auc, overall.macro_average_precision]);
        estimates.extend([overall.micro_roc_auc, overall.micro_average_precision]);
        let expected = case.expected["intervals"].as_array().unwrap();
        assert_eq!(estimates.len(), expected.len());
        for (index, (estimate, expected)) in estimates.iter().zip(expected).enumerate() {
            // One group says nothing about others.
            let is_one_group = found.groups < 2;
            let expected = if is_one_group { &Value::Null } else { expected };
            worst.interval(&format!("{}: interval {index}", case.name), estimate, expected);
        }
    }
    println!("{} values, largest difference {:.1e}", worst.count, worst.error);
    assert!(worst.count > 100);
}

#[test]
fn curves_and_cuts_are_those_of_scikit_learn() {
    let golden = golden();
    let least = golden.settings["precision"].as_f64().unwrap();
    let mut worst = Worst::default();
    for case in &golden.cases {
        for (index, expected) in case.expected["tags"].as_array().unwrap().iter().enumerate() {
            let (scores, truth) = case.data.column(index);
            let ranking = Ranking::new(&scores, &truth).unwrap();
            let name = format!("{}, tag {index}", case.name);
            let f1 = ranking.best_f1().and_then(|cut| cut.confusion.f1());
            worst.check(&format!("{name}: best F1"), f1, &expected["best_f1"]);
            let recall = ranking.at_precision(least).and_then(|cut| cut.confusion.recall());
            worst.check(&format!("{name}: recall"), recall, &expected["recall_at_precision"]);
            for cut in [ranking.best_f1(), ranking.at_precision(least)].into_iter().flatten() {
                let entries = scores.iter().copied().zip(truth.iter().copied());
                assert_eq!(Confusion::at(entries, cut.threshold), cut.confusion, "{name}");
            }
            let curve = ranking.roc_curve();
            let Some(expected) = expected["roc_curve"].as_array() else {
                assert!(curve.is_empty(), "{name}");
                continue;
            };
            let [fpr, tpr] = [0, 1].map(|axis| expected[axis].as_array().unwrap());
            assert_eq!((curve.len(), curve.len()), (fpr.len(), tpr.len()), "{name}");
            for ((point, fpr), tpr) in curve.iter().zip(fpr).zip(tpr) {
                worst.check(&name, Some(point.0), fpr);
                worst.check(&name, Some(point.1), tpr);
            }
        }
    }
    println!("{} values, largest difference {:.1e}", worst.count, worst.error);
    assert!(worst.count > 300, "{}", worst.count);
}

#[test]
fn calibration_is_that_of_scikit_learn() {
    let golden = golden();
    let mut worst = Worst::default();
    let mut near: f64 = 0.0;
    for case in &golden.cases {
        for (index, expected) in case.expected["tags"].as_array().unwrap().iter().enumerate() {
            let (scores, truth) = case.data.column(index);
            let (found, expected) = (Platt::fit(scores.into_iter().zip(truth)), &expected["platt"]);
            let name = format!("{}, tag {index}", case.name);
            worst.check(&format!("{name}: a"), found.map(|platt| platt.a), &expected["exact"][0]);
            worst.check(&format!("{name}: b"), found.map(|platt| platt.b), &expected["exact"][1]);
            if let Some(platt) = found {
                let expected = numbers(&expected["near"]);
                near = near.max((platt.a - expected[0]).abs()).max((platt.b - expected[1]).abs());
            }
        }
        let entries = case.data.scores().iter().copied().zip(case.data.truth().iter().copied());
        let found = Temperature::fit(entries);
        worst.check(&case.name, found.map(|found| found.0), &case.expected["temperature"]);
    }
    println!(
        "{} values, largest difference {:.1e}; from the stopped solver {near:.1e}",
        worst.count, worst.error
    );
    assert!(near < 1e-4, "{near}");
    assert!(worst.count > 30);
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// The definition, over all pairs: scores of few values, so that many tie.
#[test]
fn the_area_is_the_share_of_ordered_pairs() {
    let entries = prop::collection::vec((0..6u8, any::<bool>(), 0..4u32), 0..40);
    let defined = Cell::new(0);
    let check = |entries: Vec<(u8, bool, u32)>| {
        let scores: Vec<f64> = entries.iter().map(|entry| f64::from(entry.0) / 5.0).collect();
        let truth: Vec<bool> = entries.iter().map(|entry| entry.1).collect();
        let weights: Vec<u32> = entries.iter().map(|entry| entry.2).collect();
        let (mut pairs, mut ordered) = (0.0, 0.0);
        for (high, _, weight) in entries.iter().filter(|entry| entry.1) {
            for (low, _, other) in entries.iter().filter(|entry| !entry.1) {
                let count = f64::from(weight * other);
                pairs += count;
                ordered +=
                    count * f64::from(u8::from(high > low)) + count * f64::from(u8::from(high == low)) / 2.0;
            }
        }
        let found = Ranking::new(&scores, &truth).unwrap().roc_auc(Some(&weights));
        let expected = (pairs > 0.0).then(|| ordered / pairs);
        assert_eq!(found.is_some(), expected.is_some());
        let difference = found.zip(expected).map_or(0.0, |(found, expected)| (found - expected).abs());
        assert!(difference < 1e-12, "{found:?} {expected:?}");
        defined.set(defined.get() + u32::from(found.is_some()));
        Ok(())
    };
    TestRunner::new(config(500)).run(&entries, check).unwrap();
    assert!(defined.get() > 300, "{}", defined.get());
}

#[test]
fn any_text_is_a_mapping_or_an_error() {
    let text = prop::collection::vec("[ab =,()\"#\\n]|max|\\PC", 0..12).prop_map(|parts| parts.concat());
    let mut runner = TestRunner::new(config(2000));
    runner
        .run(&text, |text| {
            let _ = Mapping::parse(&text);
            let _ = TagRules::parse(&text);
            if let Ok(source) = text.parse::<TagSource>() {
                assert_eq!(source.to_string().parse(), Ok(source));
            }
            Ok(())
        })
        .unwrap();
    runner
        .run(&"\\PC{1,8}".prop_filter("a name", |name| !name.trim().is_empty()), |name| {
            let source = TagSource::plain(&*name);
            assert_eq!(source.to_string().parse(), Ok(source), "{name:?}");
            Ok(())
        })
        .unwrap();
}
