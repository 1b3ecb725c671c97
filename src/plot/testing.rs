//! What the tests of figures share: the pixels of a PNG.

/// The pixels of a PNG, three bytes each, and its width.
pub(super) fn decoded(png: &[u8]) -> (Vec<u8>, usize) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits in memory")];
    let info = reader.next_frame(&mut pixels).expect("a frame");
    (pixels, info.width as usize)
}
