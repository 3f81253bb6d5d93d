//! The ways to run an op that has more than one kernel: the list in which each of them is a few lines.

use super::{Call, Dispatch, DispatchError, Kernel, Limits, Strategy};

/// Largest tile constant: products of all of them are to fit a `usize`.
const LARGEST: usize = 1 << 10;

/// Workgroups along x, y and z of a kernel for one call of `O`.
type Workgroups<O> = fn(&O, &Call, Strategy, &Limits) -> Result<[u32; 3], DispatchError>;

/// One way to run an op `O`.
pub(super) struct Way<O: 'static, Own: 'static = ()> {
    pub(super) kernel: &'static Kernel,
    /// The tiles to try on a call, the best guess first; none where the kernel cannot run it.
    pub(super) strategies: fn(&O, &Call, &Limits) -> Vec<Strategy>,
    pub(super) workgroups: Workgroups<O>,
    /// What the op alone asks of its ways.
    pub(super) own: Own,
}

/// All ways of an op, the one to take by default first.
pub(super) struct Ways<O: 'static, Own: 'static = ()>(pub(super) &'static [Way<O, Own>]);

impl<O, Own> Ways<O, Own> {
    /// Every strategy that can run a call.
    pub(super) fn strategies(&self, op: &O, call: &Call, limits: &Limits) -> Vec<Strategy> {
        self.0.iter().flat_map(|way| (way.strategies)(op, call, limits)).collect()
    }

    /// The way whose kernel a strategy names.
    pub(super) fn of(&self, strategy: Strategy) -> Option<&'static Way<O, Own>> {
        self.0.iter().find(|way| way.kernel.name == strategy.kernel())
    }

    /// The strategy asked for, or the first that is known, with its way: other tiles than the known ones will do.
    ///
    /// # Errors
    /// [`DispatchError::NotApplicable`] for a kernel that is not among the known strategies, or lacks a tile constant.
    pub(super) fn choose(
        &self,
        strategy: Strategy,
        known: &[Strategy],
        call: &Call,
    ) -> Result<(Strategy, &'static Way<O, Own>), DispatchError> {
        let strategy = strategy.or_first(known);
        // A tile constant of zero, or one that is left out, is no tile.
        let is_complete =
            |known: &Strategy| known.constants().all(|(name, _)| (1..=LARGEST).contains(&strategy.get(name)));
        let is_known = known.iter().any(|known| known.kernel() == strategy.kernel() && is_complete(known));
        match self.of(strategy).filter(|_| is_known) {
            Some(way) => Ok((strategy, way)),
            None => Err(DispatchError::NotApplicable {
                kernel: self.of(strategy).unwrap_or(&self.0[0]).kernel.name,
                call: format!("{} to {}", call.inputs[0], call.output),
            }),
        }
    }
}

impl<O, Own> Way<O, Own> {
    /// A dispatch without `override`s and `Params`, which the op adds.
    pub(super) fn dispatch(
        &self,
        op: &O,
        call: &Call,
        strategy: Strategy,
        limits: &Limits,
    ) -> Result<Dispatch, DispatchError> {
        Ok(Dispatch {
            kernel: self.kernel,
            header: strategy.header(),
            element: call.element,
            constants: Vec::new(),
            params: Default::default(),
            workgroups: (self.workgroups)(op, call, strategy, limits)?,
        })
    }
}
