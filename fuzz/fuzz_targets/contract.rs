//! Any text as a user kernel: its contract, its bindings, and its loops written out.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tagwave::kernels::{UserKernel, Dispatch, Limits, Operation};
use tagwave::test_cases;

/// Largest text that a kernel may become.
const MAX_TEXT_BYTES: usize = 64 << 20;

fn dispatches() -> &'static [Dispatch] {
    static DISPATCHES: OnceLock<Vec<Dispatch>> = OnceLock::new();
    DISPATCHES.get_or_init(|| {
        let limits = Limits::default();
        let mut dispatches: Vec<Dispatch> = Vec::new();
        for problem in test_cases::all() {
            let step = &problem.plan.steps()[0];
            let shapes = problem.plan.shapes(step);
            let call = problem.plan.call(step, &shapes);
            for strategy in step.op.configs(&call, &limits) {
                if let Ok(dispatch) = step.op.dispatch(&call, strategy, &limits)
                    && dispatches.iter().all(|known| known.kernel.name != dispatch.kernel.name)
                {
                    dispatches.push(dispatch);
                }
            }
        }
        dispatches
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(custom) = UserKernel::parse("fuzz", text) {
        let named = dispatches().iter().find(|dispatch| dispatch.kernel.name == custom.contract);
        let dispatch = named.unwrap_or(&dispatches()[0]);
        let _ = custom.check_bindings(dispatch.kernel.source);
        assert!(dispatch.source_of(text).len() < MAX_TEXT_BYTES);
    } else {
        assert!(dispatches()[0].source_of(text).len() < MAX_TEXT_BYTES);
    }
});
