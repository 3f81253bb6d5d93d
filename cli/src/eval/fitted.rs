//! The file of fitted thresholds.

use tagwave::evaluation::{Confusion, Fitted, FittedTag, Goal, Mapping, TagRule, TagRules, TagSource};

/// Rules to write.
pub(super) fn rules(
    fitted: &Fitted,
    goal: Goal,
    made: Option<&(String, String)>,
    mapping: Option<&Mapping>,
) -> TagRules {
    let goal = match goal {
        Goal::F1 => "best F1".to_string(),
        Goal::Precision(least) => format!("precision {least}"),
    };
    let source = |tag: &str| {
        let (_, source) = mapping?.targets.iter().find(|(target, _)| target == tag)?;
        (*source != TagSource::plain(tag)).then(|| source.to_string())
    };
    let rule = |found: &FittedTag| TagRule {
        tag: found.tag.clone(),
        from: source(&found.tag),
        threshold: found.cut.map(|cut| cut.threshold),
        platt: found.platt.map(|platt| [platt.a, platt.b]),
        positives: Some(found.positives),
        precision: found.held_out.as_ref().and_then(Confusion::precision),
        recall: found.held_out.as_ref().and_then(Confusion::recall),
    };
    TagRules {
        model: made.map(|(model, _)| model.clone()),
        compat: made.map(|(_, compat)| compat.clone()),
        temperature: fitted.temperature.map(|temperature| temperature.0),
        tags: fitted.tags.iter().map(rule).collect(),
        ..TagRules::new(goal)
    }
}

/// Comment at the start of the file.
pub(super) fn comment(fitted: &Fitted, labels: &str, items: usize) -> String {
    let held_out = if fitted.held_out.is_some() {
        "precision and recall are those on tracks left out of the fit (5-fold cross-validation by group)."
    } else {
        "There are too few groups for figures on tracks left out of the fit."
    };
    format!(
        "Made by `tagwave eval --fit-thresholds` from {items} tracks of {labels:?}.\n\
         A tag without a threshold never passes: the goal cannot be reached. {held_out}"
    )
}
