//! The font that figures bring along: the width of a line of text, and the same letters for their PNGs.

use std::sync::{Arc, LazyLock};

use harfrust::{FontRef, ShapeOptions, ShaperData, UnicodeBuffer};
use resvg::usvg::fontdb::{Database, Source};

/// The fonts that an SVG asks for: the shipped one before those of the reader's machine.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// A face of the shipped font, ready to set text.
struct Face {
    font: FontRef<'static>,
    shaping: ShaperData,
}

impl Face {
    fn new(bytes: &'static [u8]) -> Self {
        let font = FontRef::new(bytes).expect("the shipped font can be read");
        Self { shaping: ShaperData::new(&font), font }
    }
}

static REGULAR: LazyLock<Face> = LazyLock::new(|| Face::new(dejavu::sans::regular()));
static BOLD: LazyLock<Face> = LazyLock::new(|| Face::new(dejavu::sans::bold()));

static DATABASE: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut database = Database::new();
    for face in [dejavu::sans::regular(), dejavu::sans::bold()] {
        database.load_font_source(Source::Binary(Arc::new(face)));
    }
    Arc::new(database)
});

/// The shipped font alone: pictures do not depend on the fonts of a machine.
pub(super) fn database() -> Arc<Database> {
    DATABASE.clone()
}

/// Width of a line of text for a font size of one.
pub(super) fn relative_text_width(text: &str, bold: bool) -> f64 {
    let face = if bold { &*BOLD } else { &*REGULAR };
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(text);
    buffer.guess_segment_properties();
    let shaper = face.shaping.shaper(&face.font).build();
    let glyphs = shaper.shape(buffer, ShapeOptions::new());
    let width: i32 = glyphs.glyph_positions().iter().map(|glyph| glyph.x_advance).sum();
    f64::from(width) / f64::from(shaper.units_per_em())
}
