//! Chips whose compilers are asked, with public figures of a card that has them.

/// Unit that runs workgroups, and what it can do per cycle.
#[derive(Clone, Copy, Debug)]
pub struct Chip {
    /// Name for the wrapper.
    pub name: &'static str,
    pub maker: Maker,
    /// A card with this chip.
    pub card: &'static str,
    /// Units that hold workgroups: WGPs (RDNA), compute units (GCN) or multiprocessors (NVIDIA).
    pub units: u64,
    /// GHz, as stated by the maker for games.
    pub clock: f64,
    /// Gigabytes per second of its memory.
    pub bandwidth: f64,
    /// Bytes of shared memory of a unit.
    pub shared_bytes: u64,
    /// Cycles of a SIMD unit for one vector instruction of a subgroup.
    pub vector_cycles: f64,
    /// Subgroups that a SIMD unit holds at most.
    pub most_subgroups: u64,
}

/// Maker of a chip, by which the driver's statistics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Amd,
    Nvidia,
}

impl Maker {
    /// Name for the wrapper.
    pub fn name(self) -> &'static str {
        match self {
            Maker::Amd => "amd",
            Maker::Nvidia => "nvidia",
        }
    }

    /// Threads of a subgroup.
    pub fn subgroup(self) -> u64 {
        match self {
            Maker::Amd => 64,
            Maker::Nvidia => 32,
        }
    }
}

/// SIMD units of a unit of any of the chips.
pub const SIMDS: u64 = 4;

/// GCN, RDNA 2, 3 and 3.5, Turing and Ampere. Sources: the makers' product pages and instruction set guides.
pub const CHIPS: [Chip; 6] = [
    Chip {
        name: "polaris10",
        maker: Maker::Amd,
        card: "Radeon RX 480",
        units: 36,
        clock: 1.266,
        bandwidth: 256.0,
        shared_bytes: 64 << 10,
        vector_cycles: 4.0,
        most_subgroups: 10,
    },
    Chip {
        name: "navi21",
        maker: Maker::Amd,
        card: "Radeon RX 6800",
        units: 30,
        clock: 2.105,
        bandwidth: 512.0,
        shared_bytes: 128 << 10,
        vector_cycles: 2.0,
        most_subgroups: 16,
    },
    Chip {
        name: "navi31",
        maker: Maker::Amd,
        card: "Radeon RX 7900 XTX",
        units: 48,
        clock: 2.5,
        bandwidth: 960.0,
        shared_bytes: 128 << 10,
        vector_cycles: 2.0,
        most_subgroups: 16,
    },
    Chip {
        name: "gfx1150",
        maker: Maker::Amd,
        card: "Radeon 890M",
        units: 8,
        clock: 2.9,
        bandwidth: 120.0,
        shared_bytes: 128 << 10,
        vector_cycles: 2.0,
        most_subgroups: 16,
    },
    Chip {
        name: "162",
        maker: Maker::Nvidia,
        card: "GeForce RTX 2080 Ti",
        units: 68,
        clock: 1.545,
        bandwidth: 616.0,
        shared_bytes: 64 << 10,
        vector_cycles: 2.0,
        most_subgroups: 8,
    },
    Chip {
        name: "172",
        maker: Maker::Nvidia,
        card: "GeForce RTX 3080",
        units: 68,
        clock: 1.71,
        bandwidth: 760.0,
        shared_bytes: 100 << 10,
        vector_cycles: 1.0,
        most_subgroups: 12,
    },
];
