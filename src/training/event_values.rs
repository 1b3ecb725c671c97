//! The kinds of values that TensorBoard's events hold: numbers, histograms, pictures, words.

use protobuf::RepeatedField;
use tensorboard_proto::summary::{Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::summary;

use crate::error::{Error, Result};

/// Buckets of a histogram; TensorBoard makes 30 of its own from them.
const N_BUCKETS: usize = 64;

/// A number; none if it is not finite as it is written, in f32: it would spoil the axis of its curve.
pub fn scalar(tag: &str, value: f64) -> Option<Summary_Value> {
    let value = value as f32;
    value.is_finite().then(|| summary::scalar(tag, value).take_value().pop()).flatten()
}

/// A histogram of the finite values; none without any.
///
/// A bucket reaches from the limit before it, or from below all values, up to its own limit (`HistogramProto` of
/// tensorboard's summary.proto).
pub fn histogram(tag: &str, values: &[f64]) -> Option<Summary_Value> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (mut low, mut high, mut sum, mut squares) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.0);
    for value in finite() {
        (low, high, sum, squares) = (low.min(value), high.max(value), sum + value, squares + value * value);
    }
    let width = (high - low) / N_BUCKETS as f64;
    if low > high || !width.is_finite() {
        return None;
    }
    let n_buckets = if width > 0.0 { N_BUCKETS } else { 1 };
    let mut limits: Vec<f64> = (1..=n_buckets).map(|bucket| low + bucket as f64 * width).collect();
    limits[n_buckets - 1] = high;
    let mut counts = vec![0.0; n_buckets];
    for value in finite() {
        // Equal values: 0 / 0 is bucket 0.
        counts[(((value - low) / width) as usize).min(n_buckets - 1)] += 1.0;
    }
    let n = counts.iter().sum();
    summary::histogram_raw(tag, low, high, n, sum, squares, &limits, &counts).take_value().pop()
}

/// A PNG as it is: tensorboard-rs would encode the pixels again, and exchange width and height.
///
/// # Errors
/// [`Error::Figure`] if it is not a PNG.
pub fn image(tag: &str, png: Vec<u8>) -> Result<Summary_Value> {
    let fail = |err: png::DecodingError| Error::Figure { figure: tag.into(), detail: format!("not a PNG: {err}") };
    let (width, height) = png::Decoder::new(std::io::Cursor::new(&png)).read_info().map_err(fail)?.info().size();
    let mut image = Summary_Image::new();
    image.set_width(width as i32);
    image.set_height(height as i32);
    image.set_colorspace(3);
    image.set_encoded_image_string(png);
    let mut value = Summary_Value::new();
    value.set_tag(tag.into());
    value.set_image(image);
    Ok(value)
}

/// Words for TensorBoard's text pages: a tensor of one string, which tensorboard-rs cannot write yet.
pub fn text(tag: &str, markdown: &str) -> Summary_Value {
    let mut dimension = TensorShapeProto_Dim::new();
    dimension.set_size(1);
    let mut shape = TensorShapeProto::new();
    shape.set_dim(RepeatedField::from_vec(vec![dimension]));
    let mut tensor = TensorProto::new();
    tensor.set_dtype(DataType::DT_STRING);
    tensor.set_tensor_shape(shape);
    tensor.set_string_val(RepeatedField::from_vec(vec![markdown.as_bytes().to_vec()]));
    let mut plugin = SummaryMetadata_PluginData::new();
    plugin.set_plugin_name("text".into());
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(plugin);
    let mut value = Summary_Value::new();
    value.set_tag(tag.into());
    value.set_metadata(metadata);
    value.set_tensor(tensor);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    #[test]
    fn a_bucket_ends_at_its_limit_and_all_finite_values_are_counted() {
        let values: Vec<f64> = (0..=640).map(|i| f64::from(i) / 10.0 - 32.0).chain([f64::NAN, f64::INFINITY]).collect();
        let value = histogram("weights/w", &values).unwrap();
        let histogram = value.get_histo();
        let (limits, counts) = (histogram.get_bucket_limit(), histogram.get_bucket());
        assert_eq!((histogram.get_min(), histogram.get_max(), histogram.get_num()), (-32.0, 32.0, 641.0));
        assert!(limits[0] == -31.0 && limits[63] == 32.0 && limits.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((limits.len(), counts.len(), counts.iter().sum::<f64>()), (64, 64, 641.0));
        // From -32 up to -31, its limit not included; the last one ends at the largest value.
        assert_eq!((counts[0], counts[63]), (10.0, 11.0));
        let squares: f64 = values[..641].iter().map(|value| value * value).sum();
        assert!(histogram.get_sum().abs() < 1e-9 && (histogram.get_sum_squares() - squares).abs() < 1e-6);
    }

    #[test]
    fn equal_values_are_one_bucket_and_none_make_no_histogram() {
        let value = histogram("weights/b", &[0.25; 7]).unwrap();
        assert_eq!((value.get_histo().get_bucket_limit(), value.get_histo().get_bucket()), (&[0.25][..], &[7.0][..]));
        assert!(histogram("weights/b", &[]).is_none() && histogram("weights/b", &[f64::NAN]).is_none());
        assert!(histogram("weights/b", &[f64::MIN, f64::MAX]).is_none());
    }

    #[test]
    fn numbers_that_f32_cannot_hold_are_left_out() {
        assert_eq!(scalar("loss", 0.5).unwrap().get_simple_value(), 0.5);
        assert!([f64::NAN, f64::INFINITY, 1e300].iter().all(|value| scalar("loss", *value).is_none()));
    }

    #[test]
    fn a_picture_keeps_its_bytes_and_tells_its_size() {
        let png = render("picture", (30.0, 20.0), |_| ()).unwrap().png().unwrap();
        let value = image("picture", png.clone()).unwrap();
        let image = value.get_image();
        assert_eq!((image.get_width(), image.get_height(), image.get_colorspace()), (60, 40, 3));
        assert!(image.get_encoded_image_string() == png);
        let refusal = super::image("one_to_one", b"no picture".to_vec()).unwrap_err().to_string();
        assert!(refusal.contains("one_to_one") && refusal.contains("not a PNG"), "{refusal}");
    }

    #[test]
    fn words_are_a_tensor_of_one_string_for_the_text_pages() {
        let value = text("settings", "| a | b |");
        assert_eq!(value.get_metadata().get_plugin_data().get_plugin_name(), "text");
        let tensor = value.get_tensor();
        assert_eq!((tensor.get_dtype(), tensor.get_tensor_shape().get_dim()[0].get_size()), (DataType::DT_STRING, 1));
        assert_eq!(tensor.get_string_val(), [b"| a | b |".to_vec()]);
    }
}
