//! Trip counts of the loops of a kernel, from its source, and their places in the compiled code.

use std::collections::BTreeMap;

/// Loop of a kernel's source that is not marked to be unrolled.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Name; copies of a loop have the same one.
    pub name: &'static str,
    /// Mean number of turns of a subgroup; a fraction where only some threads have a last turn.
    pub turns: f64,
    /// True if the number of turns depends on the layer: such a loop is never unrolled.
    pub is_dynamic: bool,
    /// Loops inside it, in the order of the source.
    pub inner: Vec<Loop>,
}

impl Loop {
    /// Loop whose number of turns the compiler knows.
    fn fixed(name: &'static str, turns: f64, inner: Vec<Loop>) -> Loop {
        Loop { name, turns, is_dynamic: false, inner }
    }

    /// Loop over channels of the layer.
    fn dynamic(name: &'static str, turns: f64, inner: Vec<Loop>) -> Loop {
        Loop { name, turns, is_dynamic: true, inner }
    }
}

/// Shape of a layer, and the configuration of its kernel.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kernel: String,
    pub constants: BTreeMap<String, u64>,
    /// Extents of input and output without the batch.
    pub input: Vec<u64>,
    pub output: Vec<u64>,
}

/// Loops of a kernel and the products of a thread.
#[derive(Clone, Debug)]
pub struct Work {
    pub loops: Vec<Loop>,
    /// Products of scalars that a thread adds up, those of padding included.
    pub products: f64,
    /// Cache lines that the lanes of a subgroup read with one load, of those that they would read from one row.
    pub lines: f64,
}

fn channels4(channels: u64) -> u64 {
    channels.div_ceil(4)
}

impl Problem {
    /// Problem of the fields of a compiled record: `conv2d f32 64x48x720 to 128x16x240`, `conv2d_direct WG=64 QT=1`.
    pub fn parse(key: &str, kernel: &str) -> Option<Problem> {
        let words: Vec<&str> = key.split(' ').collect();
        let [_, _, input, "to", output] = words[..] else { return None };
        let extents =
            |word: &str| word.split('x').map(|extent| extent.parse().ok()).collect::<Option<Vec<u64>>>();
        let mut words = kernel.split(' ');
        let name = words.next()?.to_string();
        let constant = |word: &str| {
            word.split_once('=').and_then(|(name, value)| Some((name.into(), value.parse().ok()?)))
        };
        Some(Problem {
            kernel: name,
            constants: words.map(constant).collect::<Option<_>>()?,
            input: extents(input)?,
            output: extents(output)?,
        })
    }

    fn get(&self, name: &str) -> u64 {
        self.constants.get(name).copied().unwrap_or(1)
    }

    /// Loops and products of the kernels that are modelled: convolutions and dense layers in f32.
    pub fn work(&self) -> Option<Work> {
        match &*self.kernel {
            "conv2d_direct" | "conv2d_plane" | "conv2d_tiled" | "conv2d_winograd" => self.convolution(),
            "dense_direct" | "dense_tiled" | "dense_split" => Some(self.dense()),
            _ => None,
        }
    }

    fn convolution(&self) -> Option<Work> {
        let [c, f, t] = self.input[..] else { return None };
        let [_, fo, to] = self.output[..] else { return None };
        let (pf, pt): (u64, u64) = (f / fo, t / to);
        let c4 = channels4(c);
        let ratio = |slots: u64, threads: u64| slots as f64 / threads as f64;
        match &*self.kernel {
            "conv2d_plane" => {
                let products = (pf * pt * 9 * 4 * self.get("OV")) as f64;
                Some(Work { loops: Vec::new(), products, lines: 1.0 })
            }
            "conv2d_direct" => {
                let taps = Loop::fixed("taps", 3.0, vec![Loop::dynamic("channels", c4 as f64, Vec::new())]);
                let products = (pf * pt * self.get("QT") * 9 * 4 * c4 * 4 * self.get("OV")) as f64;
                Some(Work { loops: vec![taps], products, lines: 4.0 })
            }
            "conv2d_tiled" => {
                let [tx, ty, qt, ov, bk, ks] =
                    ["TX", "TY", "QT", "OV", "BK", "KS"].map(|name| self.get(name));
                let (slice, rows, columns) = (tx * ty, ty * qt * pf * pt, tx * ov);
                let loads = (rows * bk).div_ceil(slice);
                let rounds = (9 * c4.div_ceil(bk)).div_ceil(ks);
                let products = (rounds * bk * 4 * qt * pf * pt * 4 * ov) as f64;
                let stage = vec![
                    Loop::fixed("values", loads as f64, Vec::new()),
                    Loop::fixed("weights", ratio(4 * bk * columns, slice), Vec::new()),
                    Loop::fixed("products", bk as f64, Vec::new()),
                ];
                let loops = vec![
                    Loop::fixed("places", loads as f64, Vec::new()),
                    Loop::dynamic("rounds", rounds as f64, stage),
                    Loop::fixed("slices", (ks - 1) as f64, Vec::new()),
                ];
                Some(Work { loops, products, lines: 1.0 })
            }
            _ => {
                let [m, un, tk, rt, ct, bk] = ["M", "UN", "TK", "RT", "CT", "BK"].map(|name| self.get(name));
                let unit = |window: u64| {
                    let common = [4, 2, 1]
                        .into_iter()
                        .find(|common| m.is_multiple_of(*common) && window.is_multiple_of(*common));
                    window / common.unwrap_or(1)
                };
                let (uy, ux) = (unit(pf), unit(pt));
                let products = (m + 2) * (m + 2);
                let blocks = (un * uy * ux).div_ceil(rt);
                let columns = tk / ct;
                let threads = products * blocks * columns;
                let per_unit = (uy * m / pf) * (ux * m / pt);
                let stage = vec![
                    Loop::fixed("weights", ratio(products * 4 * bk * tk, threads), Vec::new()),
                    Loop::fixed("products", bk as f64, Vec::new()),
                ];
                let window =
                    Loop::fixed("rows", pf as f64, vec![Loop::fixed("frames", pt as f64, Vec::new())]);
                let finish = Loop::fixed("windows", ratio(un * per_unit, threads), vec![window]);
                let turns = Loop::fixed("columns", columns as f64, vec![finish]);
                let mut loops = vec![Loop::dynamic("channels", c4.div_ceil(bk) as f64, stage)];
                loops.extend(std::iter::repeat_n(turns, ct as usize));
                // Those of the transforms are left out: fused or not, they are few.
                let products = (c4.div_ceil(bk) * bk * 4 * rt * ct * 4) as f64;
                Some(Work { loops, products, lines: 1.0 })
            }
        }
    }

    fn dense(&self) -> Work {
        let d4 = channels4(self.input.last().copied().unwrap_or(1));
        let (loops, products) = match &*self.kernel {
            "dense_direct" => (vec![Loop::dynamic("depth", d4 as f64, Vec::new())], 16.0 * d4 as f64),
            "dense_split" => {
                let ks = self.get("KS");
                let turns = d4 as f64 / ks as f64;
                let loops = vec![
                    Loop::dynamic("depth", turns, Vec::new()),
                    Loop::fixed("slices", (ks - 1) as f64, Vec::new()),
                ];
                (loops, 16.0 * turns)
            }
            _ => {
                let [tx, ty, rm, ov, bk] = ["TX", "TY", "RM", "OV", "BK"].map(|name| self.get(name));
                let threads = (tx * ty) as f64;
                let stage = vec![
                    Loop::fixed("values", (ty * rm * bk) as f64 / threads, Vec::new()),
                    Loop::fixed("weights", (4 * bk * tx * ov) as f64 / threads, Vec::new()),
                    Loop::fixed("products", bk as f64, Vec::new()),
                ];
                let turns = d4.div_ceil(bk);
                let loops = vec![Loop::dynamic("depth", turns as f64, stage)];
                (loops, (turns * bk * 4 * rm * 4 * ov) as f64)
            }
        };
        Work { loops, products, lines: 1.0 }
    }
}

/// Loop of compiled code: place in the record, and the loops inside.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledLoop {
    pub section: usize,
    pub inner: Vec<CompiledLoop>,
}

/// Ways to give the loops of compiled code the turns of the source's loops, as turns by section. A compiler unrolls a loop
/// everywhere or nowhere; the loops inside it then stand in its place once per turn.
pub fn assignments(source: &[Loop], compiled: &[CompiledLoop]) -> Vec<Vec<(usize, f64)>> {
    let mut names = Vec::new();
    fixed_names(source, &mut names);
    let mut found: Vec<Vec<(usize, f64)>> = Vec::new();
    for choice in 0..1u32 << names.len() {
        let is_unrolled = |name: &str| {
            names.iter().position(|known| *known == name).is_some_and(|bit| choice >> bit & 1 == 1)
        };
        let mut turns = Vec::new();
        if matches(&expanded(source, &is_unrolled), compiled, &mut turns) && !found.contains(&turns) {
            found.push(turns);
        }
    }
    found
}

/// Names of the loops that a compiler may unroll.
fn fixed_names(loops: &[Loop], names: &mut Vec<&'static str>) {
    for found in loops {
        if !found.is_dynamic && !names.contains(&found.name) {
            names.push(found.name);
        }
        fixed_names(&found.inner, names);
    }
}

/// The loops with some of them unrolled.
fn expanded(loops: &[Loop], is_unrolled: &impl Fn(&str) -> bool) -> Vec<Loop> {
    /// More copies than this are not made: no compiler does.
    const MOST: usize = 64;
    let mut result = Vec::new();
    for found in loops {
        let inner = expanded(&found.inner, is_unrolled);
        if is_unrolled(found.name) {
            let copies = (found.turns.ceil() as usize).min(MOST);
            result.extend(std::iter::repeat_n(inner, copies).flatten());
        } else {
            result.push(Loop { inner, ..found.clone() });
        }
    }
    result
}

/// True if the loops have the same structure; adds the turns of each section.
fn matches(source: &[Loop], compiled: &[CompiledLoop], turns: &mut Vec<(usize, f64)>) -> bool {
    source.len() == compiled.len()
        && source.iter().zip(compiled).all(|(known, found)| {
            turns.push((found.section, known.turns));
            matches(&known.inner, &found.inner, turns)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(section: usize) -> CompiledLoop {
        CompiledLoop { section, inner: Vec::new() }
    }

    #[test]
    fn loops_of_the_source_are_found_in_compiled_code() {
        let source = [Loop::fixed("taps", 3.0, vec![Loop::dynamic("channels", 16.0, Vec::new())])];
        let nested = [CompiledLoop { section: 1, inner: vec![leaf(2)] }];
        assert!(assignments(&source, &nested).contains(&vec![(1, 3.0), (2, 16.0)]));
        // The outer loop unrolled: three copies of the inner one.
        let copies = [leaf(1), leaf(2), leaf(3)];
        assert!(assignments(&source, &copies).contains(&vec![(1, 16.0), (2, 16.0), (3, 16.0)]));
        // The inner loop depends on the layer.
        assert!(assignments(&source, &[leaf(1)]).is_empty());
        let fixed = [Loop::fixed("taps", 3.0, vec![Loop::fixed("rows", 4.0, Vec::new())])];
        assert_eq!(assignments(&fixed, &[leaf(1)]), [vec![(1, 3.0)]]);
        assert_eq!(assignments(&fixed, &[]), [vec![]]);
    }

    #[test]
    fn work_of_a_direct_convolution() {
        let problem =
            Problem::parse("conv2d f32 64x48x720 to 128x16x240", "conv2d_direct WG=64 QT=1 OV=2").unwrap();
        let work = problem.work().unwrap();
        // Nine outputs of eight channels, from nine taps of 64 channels.
        assert_eq!(work.products, 9.0 * 8.0 * 9.0 * 64.0);
        assert_eq!(work.loops, [Loop::fixed("taps", 3.0, vec![Loop::dynamic("channels", 16.0, Vec::new())])]);
        assert!(Problem::parse("gru f32 15x96 to 15x32", "gru").unwrap().work().is_none());
        assert!(Problem::parse("x", "gru").is_none());
    }
}
