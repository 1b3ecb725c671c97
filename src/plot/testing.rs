//! What the tests of figures share: repeatable data, the pixels of a PNG.

/// Draws from the standard normal distribution: Box and Muller's pairs from a multiplicative congruential generator.
pub(super) struct Normal {
    state: u64,
}

impl Normal {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: 2 * seed + 1 }
    }

    /// Uniform in 0..1.
    pub(super) fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let mixed = (self.state ^ (self.state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        ((mixed ^ (mixed >> 33)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1.
    pub(super) fn next(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// The pixels of a PNG, three bytes each, and its width.
pub(super) fn decoded(png: &[u8]) -> (Vec<u8>, usize) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits in memory")];
    let info = reader.next_frame(&mut pixels).expect("a frame");
    (pixels, info.width as usize)
}
