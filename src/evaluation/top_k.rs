//! Hits among the tags with the highest scores.

use super::labelled::LabelledScores;

/// Metrics of the `k` highest tags of each item, over items with at least one true tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopK {
    /// Number of tags per item.
    pub k: usize,
    /// Items with at least one true tag.
    pub items: usize,
    /// Share of items with at least one true tag among the `k`; with one true tag per item, top-k accuracy.
    pub hit_rate: f64,
    /// Mean share of true tags among the `k`.
    pub precision: f64,
    /// Mean share of an item's true tags that are among the `k`.
    pub recall: f64,
}

/// Hits among the `k` tags with the highest scores; of equal scores the first tags count. `None` if no item has a true
/// tag, or `k` is 0.
pub fn top_k(data: &LabelledScores, k: usize) -> Option<TopK> {
    let k = k.min(data.tags().len());
    let (mut items, mut hits, mut precision, mut recall) = (0, 0, 0.0, 0.0);
    for (scores, truth) in data.rows() {
        let all = truth.iter().filter(|&&truth| truth).count();
        if all == 0 {
            continue;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let found = order.iter().take(k).filter(|&&tag| truth[tag]).count();
        items += 1;
        hits += usize::from(found > 0);
        precision += found as f64 / k as f64;
        recall += found as f64 / all as f64;
    }
    let n = items as f64;
    (items > 0 && k > 0).then(|| TopK {
        k,
        items,
        hit_rate: hits as f64 / n,
        precision: precision / n,
        recall: recall / n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_without_a_true_tag_do_not_count() {
        let tags = ["a", "b", "c"].map(String::from).to_vec();
        let scores = vec![0.9, 0.5, 0.1, 0.9, 0.5, 0.1, 0.3, 0.3, 0.3];
        let truth = vec![false, true, true, false, false, false, true, false, false];
        let data = LabelledScores::new(tags, scores, truth).unwrap();
        let found = top_k(&data, 2).unwrap();
        assert_eq!(found, TopK { k: 2, items: 2, hit_rate: 1.0, precision: 0.5, recall: 0.75 });
        assert_eq!(top_k(&data, 1).unwrap().hit_rate, 0.5);
        assert_eq!(top_k(&data, 99).unwrap().k, 3);
        assert!(top_k(&data, 0).is_none());
        let none = LabelledScores::new(vec!["a".into()], vec![0.5], vec![false]).unwrap();
        assert!(top_k(&none, 1).is_none());
    }
}
