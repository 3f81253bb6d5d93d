//! Weight files of both formats: the published ones bit for bit where they are at hand, and the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tagwave::error::ErrorKind;
use tagwave::tensor::{DType, HostTensor, Shape};
use tagwave::weights::{
    Checkpoint, DigestCheck, Format, Locator, Manifest, Role, TensorSpec, Variant, Weights, WeightsError,
    export, import, list, load, own_file_name, parameter_count, sha256_hex, verify,
};

const MANIFESTS: [&str; 3] = [
    include_str!("../weights/crnn/manifest.toml"),
    include_str!("../weights/cnn/manifest.toml"),
    include_str!("../weights/compact/manifest.toml"),
];
const TINY_THEANO: &[u8] = include_bytes!("golden/weights/tiny_theano.h5");
const TINY_TENSORFLOW: &[u8] = include_bytes!("golden/weights/tiny_tensorflow.h5");

/// The folder of published weight files, or `None` after saying that the test was not run.
fn fixtures() -> Option<PathBuf> {
    match std::env::var_os("TAGWAVE_FIXTURES") {
        Some(root) => Some(PathBuf::from(root).join("weights")),
        None => {
            let required = std::env::var_os("REQUIRE_FIXTURES").is_some_and(|value| value == "1");
            assert!(!required, "REQUIRE_FIXTURES=1, but TAGWAVE_FIXTURES is not set");
            println!("not run: TAGWAVE_FIXTURES");
            None
        }
    }
}

fn published(name: &str) -> Option<Checkpoint> {
    let bytes = fs::read(fixtures()?.join(name)).expect("a published weight file");
    Some(Checkpoint::from_bytes(bytes).expect(name))
}

fn bytes_of(tensor: &HostTensor) -> Vec<u8> {
    tensor.data().iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The table of the tiny files.
fn tiny_specs() -> Vec<TensorSpec> {
    vec![
        TensorSpec::kernel("conv1.kernel", "conv1_W", [3, 2, 3, 3]),
        TensorSpec::trainable("conv1.bias", "conv1_b", [3]),
        TensorSpec::statistic("bn1.running_mean", "bn1_running_mean", [3]),
        TensorSpec::statistic("bn1.running_std", "bn1_running_std", [3]),
        TensorSpec::trainable("dense.kernel", "dense_1_W", [3, 5]).optional(),
        TensorSpec::trainable("dense.bias", "dense_1_b", [5]).optional(),
    ]
}

/// A manifest of the tiny files, as if they were published.
fn tiny_manifest() -> Manifest {
    let file = |name: &str, variant: &str, bytes: &[u8]| {
        format!(
            "[[files]]\nname = \"{name}\"\npath = \"data/{name}\"\nvariant = \"{variant}\"\n\
             url = \"https://example.org/{name}\"\nsize = {}\nsha256 = \"{}\"\n",
            bytes.len(),
            sha256_hex(bytes)
        )
    };
    let head = "model = \"tiny\"\ntitle = \"tiny\"\nrepository = \"https://example.org\"\nlicence = \"MIT\"\n\
                copyright = \"nobody\"\ncitation = \"none\"\n";
    let commit = format!("commit = \"{}\"\n", "0123456789".repeat(4));
    let theano = file("tiny_theano.h5", "theano", TINY_THEANO);
    let tensorflow = file("tiny_tensorflow.h5", "tensorflow", TINY_TENSORFLOW);
    Manifest::parse(&[head, &commit, &theano, &tensorflow].concat()).expect("tiny manifest")
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn tiny_weights() -> Weights {
    Weights::from_checkpoint(&tiny_specs(), Checkpoint::from_bytes(TINY_THEANO.to_vec()).unwrap()).unwrap()
}

#[test]
fn published_arrays_are_those_h5py_reads() {
    if fixtures().is_none() {
        return;
    }
    let mut files: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
    for line in include_str!("golden/weights/digests.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        files.entry(columns[0]).or_default().push((columns[1], columns[2], columns[3]));
    }
    assert_eq!(files.len(), 6);
    for (file, rows) in files {
        let checkpoint = published(file).unwrap();
        let expected = if file.contains("theano") { Variant::Theano } else { Variant::TensorFlow };
        assert_eq!(checkpoint.variant(), expected, "{file}");
        assert_eq!(checkpoint.tensors().len(), rows.len(), "{file}");
        for (name, shape, digest) in rows {
            let tensor = checkpoint.tensors().get(name).unwrap_or_else(|| panic!("{file}: {name}"));
            let extents: Vec<usize> = shape.split('x').map(|extent| extent.parse().unwrap()).collect();
            assert_eq!(tensor.shape(), Shape::new(&extents), "{file}: {name}");
            assert_eq!(sha256_hex(&bytes_of(tensor)), digest, "{file}: {name}");
        }
    }
}

/// Both files of a model hold the same network once Theano's kernels are rotated.
#[test]
fn both_variants_give_the_same_correlation_kernels() {
    for pair in ["music_tagger_cnn_weights_*.h5", "music_tagger_crnn_weights_*.h5", "weights_*.hdf5"] {
        let Some(theano) = published(&pair.replace('*', "theano")) else { return };
        let tensorflow = published(&pair.replace('*', "tensorflow")).unwrap();
        let specs: Vec<TensorSpec> = tensorflow
            .tensors()
            .iter()
            .filter(|(name, _)| !name.starts_with("Variable"))
            .map(|(name, tensor)| match tensor.shape().rank() {
                4 => TensorSpec::kernel(name, name, tensor.shape()),
                _ => TensorSpec::trainable(name, name, tensor.shape()),
            })
            .collect();
        let theano = Weights::from_checkpoint(&specs, theano).unwrap();
        let tensorflow = Weights::from_checkpoint(&specs, tensorflow).unwrap();
        let difference = |name: &str| {
            let pairs = theano.get(name).unwrap().data().iter().zip(tensorflow.get(name).unwrap().data());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let worst = specs.iter().map(|spec| difference(&spec.name)).fold(0.0, f32::max);
        println!("{pair}: {} arrays, largest difference {worst:e}", specs.len());
        assert_eq!(worst, 0.0, "{pair}");
    }
}

#[test]
fn manifests_name_files_that_are_what_they_say() {
    for text in MANIFESTS {
        let manifest = Manifest::parse(text).unwrap();
        let variants: Vec<Variant> = manifest.files.iter().map(|file| file.variant).collect();
        assert_eq!(variants, [Variant::Theano, Variant::TensorFlow], "theano is preferred");
        for file in &manifest.files {
            let path = format!("{}/{}", manifest.commit, file.path);
            assert!(file.url.starts_with("https://raw.githubusercontent.com/") && file.url.ends_with(&path));
            let Some(directory) = fixtures() else { continue };
            let bytes = fs::read(directory.join(&file.name)).unwrap();
            assert_eq!(file.size, bytes.len() as u64, "{}", file.name);
            assert_eq!(file.sha256, sha256_hex(&bytes), "{}", file.name);
            assert_eq!(Checkpoint::from_bytes(bytes).unwrap().variant(), file.variant);
        }
    }
}

#[test]
fn manifests_that_cannot_be_relied_on_are_refused() {
    let good = MANIFESTS[0];
    let name = "name = \"music_tagger_crnn_weights_theano.h5\"";
    for (from, to) in [
        (name, "name = \"../escape.h5\""),
        (name, "name = \".hidden\""),
        (name, "name = \"\""),
        ("size = 1649664", "size = 0"),
        ("size = 1649664", "size = 99999999999"),
        ("size = 1649664", "size = -1"),
        ("variant = \"theano\"", "variant = \"torch\""),
        ("sha256 = \"783d", "sha256 = \"783D"),
        ("commit = \"a3", "commit = \"a"),
        ("model = \"crnn\"", "model = \"../crnn\""),
        ("model = \"crnn\"", "model = \"crnn\"\nunheard_of = 1"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Manifest::parse(&good.replace(from, to)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        assert!(error.to_string().starts_with("manifest: "), "{error}");
    }
}

#[test]
fn the_tiny_variants_agree() {
    let ramp = |start: usize, shape: &[usize]| {
        HostTensor::from_fn(Shape::new(shape), |i| (((start + i) % 251) as f32 - 125.0) / 4.0)
    };
    let theano = tiny_weights();
    let mut kernel = ramp(1, &[3, 2, 3, 3]);
    kernel.data_mut().chunks_exact_mut(9).for_each(<[f32]>::reverse);
    assert_eq!(theano.get("conv1.kernel").unwrap(), &kernel);
    assert_eq!(theano.get("dense.kernel").unwrap(), &ramp(5, &[3, 5]));
    assert_eq!(theano.info().variant, Some(Variant::Theano));

    let checkpoint = Checkpoint::from_bytes(TINY_TENSORFLOW.to_vec()).unwrap();
    let names: Vec<&String> = checkpoint.tensors().keys().collect();
    assert_eq!(names, ["bn1_running_mean", "bn1_running_std", "conv1_W", "conv1_b"]);
    let tensorflow = Weights::from_checkpoint(&tiny_specs(), checkpoint).unwrap();
    // The generator rotated the ramp for this file, so that both hold one network.
    for name in tensorflow.names() {
        assert_eq!(tensorflow.get(name).unwrap(), theano.get(name).unwrap(), "{name}");
    }
    let error = tensorflow.get("dense.kernel").unwrap_err();
    assert_eq!(
        error.to_string(),
        "weight \"dense.kernel\": not among the 4 weights of a tensorflow checkpoint"
    );
    assert!(tensorflow.get_optional("dense.kernel").is_none());
}

#[test]
fn counts_are_those_of_the_arrays() {
    let specs = tiny_specs();
    assert_eq!(parameter_count(&specs, Role::Trainable), 54 + 3 + 15 + 5);
    assert_eq!(parameter_count(&specs, Role::Statistic), 6);
    assert_eq!(parameter_count(&specs, None), tiny_weights().parameter_count());
}

#[test]
fn a_file_of_another_model_is_refused_by_name() {
    let checkpoint = || Checkpoint::from_bytes(TINY_TENSORFLOW.to_vec()).unwrap();
    let mut specs = tiny_specs();
    specs[0].shape = Shape::from([3, 3, 3, 2]);
    let error = Weights::from_checkpoint(&specs, checkpoint()).unwrap_err();
    assert_eq!(error.to_string(), "weight \"conv1.kernel\": expected [3, 3, 3, 2], found [3, 2, 3, 3]");
    assert_eq!(error.kind(), ErrorKind::Input);

    let specs: Vec<TensorSpec> =
        tiny_specs().into_iter().map(|spec| TensorSpec { required: true, ..spec }).collect();
    let error = Weights::from_checkpoint(&specs, checkpoint()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "missing weights: \"dense.kernel\" (\"dense_1_W\" in the file), \
         \"dense.bias\" (\"dense_1_b\" in the file)"
    );
}
