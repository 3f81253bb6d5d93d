//! Logistic regression of one tag.
//!
//! Minimises `penalty / 2 * |w|^2 + sum_i c_i * log(1 + exp(-y_i * (x_i . w + b)))` with y of -1 and 1 and the weights c of
//! the classes; b has no penalty. That is scikit-learn's `LogisticRegression(C=1 / penalty)`. The problem is convex and has
//! one unknown per feature, so Newton's method with steps that are halved until the cost falls reaches its minimum in
//! a few steps, each of which solves one system of equations.

use nalgebra::{DMatrix, DVector};

/// Steps; ten are usual.
const MAX_STEPS: usize = 100;
/// Halvings of a step.
const MAX_HALVINGS: u32 = 50;
/// Largest component of the gradient at the minimum, per track.
const TOLERANCE: f64 = 1e-9;

/// Coefficients of the features, and the intercept last. `x` is `[N, D + 1]` with a last column of ones; `costs` are the
/// weights of the tracks. `None` without convergence.
pub(super) fn regression(
    x: &DMatrix<f64>,
    truth: &[bool],
    costs: &[f64],
    penalty: f64,
) -> Option<DVector<f64>> {
    let problem = Problem { x, truth, costs, penalty };
    let mut w = DVector::zeros(x.ncols());
    let mut cost = problem.cost(&w);
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = problem.derivatives(&w);
        if gradient.amax() <= TOLERANCE * x.nrows() as f64 {
            return Some(w);
        }
        let step = hessian.cholesky()?.solve(&gradient);
        let halved = (0..MAX_HALVINGS).map(|times| &w - &step * 0.5f64.powi(times as i32));
        let found = halved.map(|next| (problem.cost(&next), next)).find(|(next, _)| *next < cost);
        match found {
            Some((next_cost, next)) => (cost, w) = (next_cost, next),
            // Rounding hides what is left to gain.
            None => return Some(w),
        }
    }
    None
}

struct Problem<'a> {
    x: &'a DMatrix<f64>,
    truth: &'a [bool],
    costs: &'a [f64],
    penalty: f64,
}

impl Problem<'_> {
    fn cost(&self, w: &DVector<f64>) -> f64 {
        let logits = self.x * w;
        let losses = logits.iter().zip(self.truth).zip(self.costs).map(|((&logit, &truth), cost)| {
            let z = if truth { -logit } else { logit };
            // log(1 + exp(z)) without overflow.
            cost * (z.max(0.0) + (-z.abs()).exp().ln_1p())
        });
        let last = w.len() - 1;
        0.5 * self.penalty * w.rows(0, last).norm_squared() + losses.sum::<f64>()
    }

    fn derivatives(&self, w: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>) {
        let mut residuals = self.x * w;
        let mut scaled = self.x.clone();
        for (track, residual) in residuals.iter_mut().enumerate() {
            let score = 1.0 / (1.0 + (-*residual).exp());
            let curvature = self.costs[track] * score * (1.0 - score);
            *residual = self.costs[track] * (score - f64::from(u8::from(self.truth[track])));
            scaled.row_mut(track).scale_mut(curvature);
        }
        let mut gradient = self.x.tr_mul(&residuals);
        let mut hessian = self.x.tr_mul(&scaled);
        let last = w.len() - 1;
        for feature in 0..last {
            gradient[feature] += self.penalty * w[feature];
            hessian[(feature, feature)] += self.penalty;
        }
        // Keeps the matrix positive where all scores are 0 or 1.
        hessian[(last, last)] += f64::EPSILON * self.x.nrows() as f64;
        (gradient, hessian)
    }
}
