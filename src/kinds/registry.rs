//! Which kinds of models there are: those of maury, and those that were added.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, RwLock};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::combination::CombinationConfig;
use super::kind::{Kind, Loaded, Model, ModelFolder};
use crate::data::files::files_below;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::refine::RefineSettings;
use crate::inference::slopes::{SLOPES_FILE, Slopes};
use crate::inference::straightened::Straightened;
use crate::models::ridge::RidgeConfig;
use crate::training::cannon_config::CannonConfig;
use crate::training::emulator::EmulatorConfig;
use crate::training::model_file;
use crate::training::network_config::NetworkConfig;

/// One kind, its type forgotten.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    settings: fn(&mut dyn erased_serde::Deserializer) -> erased_serde::Result<Arc<dyn Model>>,
    schema: fn(&mut SchemaGenerator) -> Schema,
    load: fn(&ModelFolder) -> Result<Loaded>,
}

impl Entry {
    fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            settings: |text| Ok(Arc::new(erased_serde::deserialize::<K>(text)?)),
            schema: |generator| generator.subschema_for::<K>(),
            load: K::load,
        }
    }
}

/// The kinds that maury brings along; [`ModelVisitor`] reads their settings by type.
static KINDS: LazyLock<RwLock<Vec<Entry>>> = LazyLock::new(|| {
    RwLock::new(vec![
        Entry::of::<CannonConfig>(),
        Entry::of::<EmulatorConfig>(),
        Entry::of::<NetworkConfig>(),
        Entry::of::<RidgeConfig>(),
        Entry::of::<CombinationConfig>(),
    ])
});

fn entries() -> Vec<Entry> {
    KINDS.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Adds a kind of model: from now on experiments may name it, and `maury label` reads its folders. One of the same name gives way.
pub fn add<K: Kind>() {
    let mut kinds = KINDS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    kinds.retain(|entry| entry.name != K::NAME);
    kinds.push(Entry::of::<K>());
}

/// Reads a model's folder, whatever its kind.
///
/// # Errors
/// [`Error::Checkpoint`] if there is none, or of a kind that nobody knows; those of the kind.
pub fn load(path: &Path, fit: &FitSettings, refine: &RefineSettings, compute: &Compute) -> Result<Loaded> {
    load_any(&ModelFolder { path, fit, refine, compute, load: load_any })
}

fn load_any(folder: &ModelFolder) -> Result<Loaded> {
    let kind = model_file::kind(folder.path)?;
    let entries = entries();
    match entries.iter().find(|entry| entry.name == kind) {
        Some(entry) => {
            let mut loaded = (entry.load)(folder)?;
            match Slopes::load(folder.path, &loaded.label_names)? {
                Some(slopes) => {
                    let (estimator, grid) = (loaded.estimator, loaded.preparation.grid.clone());
                    loaded.estimator = Box::new(Straightened { estimator, slopes, grid });
                }
                None if loaded.corrects_slopes => {
                    let detail = format!(
                        "{SLOPES_FILE}, which says how its labels are corrected, is missing; train the model again"
                    );
                    return Err(Error::Checkpoint { path: folder.path.to_path_buf(), detail });
                }
                None => {}
            }
            loaded.files.extend(files_below(folder.path, &[".json", ".safetensors"])?);
            Ok(loaded)
        }
        None => {
            let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            let detail = format!("its kind, `{kind}`, is none of those known here: {}", known.join(", "));
            Err(Error::Checkpoint { path: folder.path.to_path_buf(), detail })
        }
    }
}

/// `[models.<name>]`: one kind of model with its settings.
#[derive(Clone)]
pub struct ModelConfig {
    kind: &'static str,
    settings: Arc<dyn Model>,
}

impl ModelConfig {
    /// A model of some settings.
    pub fn new<K: Kind>(settings: K) -> Self {
        Self { kind: K::NAME, settings: Arc::new(settings) }
    }

    /// The name of its kind, its key in TOML.
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Default for ModelConfig {
    /// What an experiment gets that names no model: The Cannon as it is.
    fn default() -> Self {
        Self::new(CannonConfig::default())
    }
}

impl std::ops::Deref for ModelConfig {
    type Target = dyn Model;

    fn deref(&self) -> &(dyn Model + 'static) {
        &*self.settings
    }
}

impl fmt::Debug for ModelConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.settings.fmt(formatter)
    }
}

impl PartialEq for ModelConfig {
    fn eq(&self, other: &Self) -> bool {
        let value = |model: &Self| serde_json::to_value(model).ok();
        value(self).is_some() && value(self) == value(other)
    }
}

impl JsonSchema for ModelConfig {
    fn schema_name() -> Cow<'static, str> {
        "ModelConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = |entry: &Entry| (entry.name.to_string(), (entry.schema)(generator).to_value());
        let kinds: serde_json::Map<String, serde_json::Value> = entries().iter().map(kind).collect();
        json_schema!({
            "type": "object",
            "description": "One kind of model with its settings.",
            "properties": kinds,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Settings<'a>(&'a dyn Model);
        impl Serialize for Settings<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                erased_serde::serialize(self.0, serializer)
            }
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.kind, &Settings(&*self.settings))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = ModelConfig;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a table of one kind of model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelConfig, A::Error> {
        let none = || A::Error::custom("no kind is named where one is to be chosen");
        let kind = map.next_key::<String>()?.ok_or_else(none)?;
        let entries = entries();
        let unknown = || {
            let known: Vec<String> = entries.iter().map(|entry| format!("`{}`", entry.name)).collect();
            A::Error::custom(format!("unknown variant `{kind}`, expected one of {}", known.join(", ")))
        };
        let entry = entries.iter().find(|entry| entry.name == kind).ok_or_else(unknown)?;
        // Read by their types, those of maury keep the lines of their mistakes, however deep.
        let model = match entry.name {
            CannonConfig::NAME => ModelConfig::new(map.next_value::<CannonConfig>()?),
            EmulatorConfig::NAME => ModelConfig::new(map.next_value::<EmulatorConfig>()?),
            NetworkConfig::NAME => ModelConfig::new(map.next_value::<NetworkConfig>()?),
            RidgeConfig::NAME => ModelConfig::new(map.next_value::<RidgeConfig>()?),
            CombinationConfig::NAME => ModelConfig::new(map.next_value::<CombinationConfig>()?),
            kind => ModelConfig { kind, settings: map.next_value_seed(Settings(entry))? },
        };
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("two kinds are named where one is to be chosen")),
            None => Ok(model),
        }
    }
}

/// Reads the settings of a kind that was added.
struct Settings<'a>(&'a Entry);

impl<'de> DeserializeSeed<'de> for Settings<'_> {
    type Value = Arc<dyn Model>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Settings<'_> {
    type Value = Arc<dyn Model>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a table of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let refusal = RefCell::new(None);
        let entries = MapAccessDeserializer::new(Entries { map, refusal: &refusal });
        let read = (self.0.settings)(&mut <dyn erased_serde::Deserializer>::erase(entries));
        read.map_err(|err| refusal.take().unwrap_or_else(|| A::Error::custom(err)))
    }
}

/// The entries of a table, which keep what is said against one of them: an erased error has forgotten its line.
struct Entries<'a, A, E> {
    map: A,
    refusal: &'a RefCell<Option<E>>,
}

impl<A, E: serde::de::Error> Entries<'_, A, E> {
    fn keep(&self, err: E) -> E {
        let told = E::custom(&err);
        self.refusal.replace(Some(err));
        told
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A, A::Error> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(seed).map_err(|err| self.keep(err))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed).map_err(|err| self.keep(err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_goes_through_toml_and_back_and_one_is_named() {
        let read = |text: &str| toml::from_str::<ModelConfig>(text);
        for kind in ["cannon", "payne", "network", "ridge", "combination"] {
            let model = read(&format!("[{kind}]")).unwrap();
            assert_eq!(model.kind(), kind);
            let again = read(&toml::to_string(&model).unwrap()).unwrap();
            assert_eq!(again, model);
            assert_eq!(serde_json::to_value(&model).unwrap().as_object().unwrap().keys().collect::<Vec<_>>(), [kind]);
        }
        assert_ne!(read("cannon = { order = 1 }").unwrap(), ModelConfig::default());
        assert_eq!(read("cannon = { order = 3 }").unwrap().flux_order(), Some(3));
        let refusal = |text: &str| read(text).unwrap_err().message().to_string();
        assert!(refusal("canon = {}").contains("unknown variant `canon`, expected one of `cannon`, `payne`"));
        assert!(refusal("cannon = {}\nridge = {}").contains("two kinds"));
        assert!(refusal("").contains("no kind is named"));
        // The line of the mistake, not that of the table.
        let err = read("[ridge]\nkernel = 'linear'\npenalty = 'x'").unwrap_err();
        assert_eq!(err.span().map(|span| span.start > 10), Some(true), "{err}");
    }
}
