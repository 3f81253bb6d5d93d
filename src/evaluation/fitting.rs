//! Fitting of thresholds and calibration to labelled scores, with figures on items that were left out.

use super::calibration::{Platt, Reliability, Temperature, reliability};
use super::confusion::Confusion;
use super::error::EvaluationError;
use super::folds::Folds;
use super::labelled::LabelledScores;
use super::ranking::Cut;
use super::summary::check_length;

/// Goal of a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Largest F1.
    F1,
    /// Largest recall with at least this precision.
    Precision(f64),
}

/// Method of calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationMethod {
    /// None.
    Uncalibrated,
    /// One temperature for all tags.
    Temperature,
    /// A curve for each tag.
    Platt,
}

/// Settings of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Goal of the thresholds.
    pub goal: Goal,
    /// Method of calibration.
    pub calibration: CalibrationMethod,
    /// Number of folds of cross-validation.
    pub folds: usize,
    /// Number of bins of reliability diagrams.
    pub bins: usize,
    /// Seed of the assignment of groups to folds.
    pub seed: u64,
}

/// Threshold and calibration of one tag.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedTag {
    /// The tag.
    pub tag: String,
    /// Number of items that have it.
    pub positives: u64,
    /// Threshold with its counts on the items it was fitted to; `None` if the goal cannot be reached.
    pub cut: Option<Cut>,
    /// Platt scaling, if requested and possible.
    pub platt: Option<Platt>,
    /// Counts on items left out of the fit; `None` without cross-validation.
    pub held_out: Option<Confusion>,
}

/// Reliability of scores of items left out of the fit, as they are and calibrated.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// As they are.
    pub raw: Reliability,
    /// Calibrated.
    pub calibrated: Reliability,
}

/// Thresholds and calibration of all tags.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Tags.
    pub tags: Vec<FittedTag>,
    /// Temperature, if requested and possible.
    pub temperature: Option<Temperature>,
    /// Reliability of held-out scores; `None` without cross-validation.
    pub held_out: Option<HeldOut>,
}

impl Fitted {
    /// Calibrated score of a tag.
    pub fn calibrate(&self, tag: usize, score: f64) -> f64 {
        let platt = self.tags.get(tag).and_then(|tag| tag.platt);
        match (platt, self.temperature) {
            (Some(platt), _) => platt.apply(score),
            (None, Some(temperature)) => temperature.apply(score),
            (None, None) => score,
        }
    }
}

/// Fits thresholds and calibration. Cross-validation fits to the groups of all folds but one and decides on that one;
/// there is none with fewer groups than folds.
///
/// # Errors
/// [`EvaluationError::Length`] if groups do not fit the data.
pub fn fit(data: &LabelledScores, groups: &[usize], options: &FitOptions) -> Result<Fitted, EvaluationError> {
    check_length("groups", data.items(), groups.len())?;
    let mut fitted = fit_once(data, options);
    let Some(folds) = Folds::new(groups, options.folds, options.seed) else { return Ok(fitted) };
    let mut counts = vec![Confusion::default(); data.tags().len()];
    let (mut raw, mut calibrated) = (Vec::new(), Vec::new());
    for left_out in 0..folds.count() {
        let rest = part(data, |item| folds.of(item) != left_out)?;
        let held_out = part(data, |item| folds.of(item) == left_out)?;
        let found = fit_once(&rest, options);
        for (tag, counts) in counts.iter_mut().enumerate() {
            let (scores, truth) = held_out.column(tag);
            let entries = || scores.iter().copied().zip(truth.iter().copied());
            let threshold = found.tags[tag].cut.map_or(f64::INFINITY, |cut| cut.threshold);
            *counts = [*counts, Confusion::at(entries(), threshold)].into_iter().sum();
            raw.extend(entries());
            calibrated.extend(entries().map(|(score, truth)| (found.calibrate(tag, score), truth)));
        }
    }
    fitted.tags.iter_mut().zip(counts).for_each(|(tag, counts)| tag.held_out = Some(counts));
    fitted.held_out = Some(HeldOut {
        raw: reliability(raw, options.bins),
        calibrated: reliability(calibrated, options.bins),
    });
    Ok(fitted)
}

/// The items for which `keep` is true.
fn part(data: &LabelledScores, keep: impl Fn(usize) -> bool) -> Result<LabelledScores, EvaluationError> {
    let (mut scores, mut truth) = (Vec::new(), Vec::new());
    for (_, (row, labels)) in data.rows().enumerate().filter(|(item, _)| keep(*item)) {
        scores.extend_from_slice(row);
        truth.extend_from_slice(labels);
    }
    LabelledScores::new(data.tags().to_vec(), scores, truth)
}

/// Fits to all items.
fn fit_once(data: &LabelledScores, options: &FitOptions) -> Fitted {
    let is_platt = options.calibration == CalibrationMethod::Platt;
    let tag = |(index, tag): (usize, &String)| {
        let (scores, truth) = data.column(index);
        let ranking = data.ranking(index);
        FittedTag {
            tag: tag.clone(),
            positives: ranking.positives(),
            cut: match options.goal {
                Goal::F1 => ranking.best_f1(),
                Goal::Precision(least) => ranking.at_precision(least),
            },
            platt: is_platt.then(|| Platt::fit(scores.into_iter().zip(truth))).flatten(),
            held_out: None,
        }
    };
    let entries = || data.scores().iter().copied().zip(data.truth().iter().copied());
    let is_temperature = options.calibration == CalibrationMethod::Temperature;
    Fitted {
        tags: data.tags().iter().enumerate().map(tag).collect(),
        temperature: is_temperature.then(|| Temperature::fit(entries())).flatten(),
        held_out: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(goal: Goal, calibration: CalibrationMethod) -> FitOptions {
        FitOptions { goal, calibration, folds: 5, bins: 10, seed: 1 }
    }

    /// 100 items with the tag from 0.5 on, and one that contradicts.
    fn data() -> LabelledScores {
        let scores: Vec<f64> = (0..100).map(|item| (f64::from(item) + 0.5) / 100.0).collect();
        let truth = (0..100).map(|item| item >= 50 || item == 3).collect();
        LabelledScores::new(vec!["a".into()], scores, truth).unwrap()
    }

    #[test]
    fn the_threshold_is_found_and_holds_on_items_left_out() {
        let groups: Vec<usize> = (0..100).collect();
        let fitted = fit(&data(), &groups, &options(Goal::F1, CalibrationMethod::Platt)).unwrap();
        let tag = &fitted.tags[0];
        assert!((tag.cut.unwrap().threshold - 0.5).abs() < 1e-12, "{tag:?}");
        let held_out = tag.held_out.unwrap();
        assert!(held_out.f1().unwrap() > 0.9 && held_out.f1() <= tag.cut.unwrap().confusion.f1(), "{tag:?}");
        assert!(fitted.calibrate(0, 0.9) > 0.95);
        let found = fitted.held_out.unwrap();
        assert!(found.calibrated.expected_error() < found.raw.expected_error());
        // Too few groups for the folds.
        let fitted = fit(&data(), &[0; 100], &options(Goal::F1, CalibrationMethod::Temperature)).unwrap();
        assert!(fitted.held_out.is_none() && fitted.tags[0].held_out.is_none());
        assert!(fitted.temperature.is_some() && fitted.tags[0].platt.is_none());
        assert!(fit(&data(), &[0; 3], &options(Goal::F1, CalibrationMethod::Platt)).is_err());
    }

    #[test]
    fn a_precision_that_no_threshold_has() {
        let groups: Vec<usize> = (0..4).collect();
        let data =
            LabelledScores::new(vec!["a".into()], vec![0.9, 0.5, 0.4, 0.1], vec![false, true, true, false]);
        let fitted =
            fit(&data.unwrap(), &groups, &options(Goal::Precision(0.9), CalibrationMethod::Uncalibrated));
        assert_eq!(fitted.unwrap().tags[0].cut, None);
    }
}
