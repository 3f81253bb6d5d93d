//! Weight files of both formats and the store; the published files bit for bit, if available.
#![cfg(all(feature = "gpu", feature = "keras"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tagwave::ErrorKind;
use tagwave::tensor::{DType, HostTensor, Shape};
use tagwave::weights::{
    Checkpoint, DigestCheck, Locator, Manifest, TensorRole, TensorSpec, Variant, Weights, WeightsError,
    WeightsFormat, export, import, list, load, own_file_name, parameter_count, sha256_hex, verify,
};

const MANIFESTS: [&str; 3] = [
    include_str!("../weights/crnn/manifest.toml"),
    include_str!("../weights/cnn/manifest.toml"),
    include_str!("../weights/compact/manifest.toml"),
];
const TINY_THEANO: &[u8] = include_bytes!("golden/weights/tiny_theano.h5");
const TINY_TENSORFLOW: &[u8] = include_bytes!("golden/weights/tiny_tensorflow.h5");

/// Folder of the published weight files; `None` without fixtures.
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

/// Tensor specs of the tiny files.
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
            let path = format!("{}/{}", manifest.commit.as_deref().unwrap(), file.path);
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
    assert_eq!(parameter_count(&specs, TensorRole::Trainable), 54 + 3 + 15 + 5);
    assert_eq!(parameter_count(&specs, TensorRole::Statistic), 6);
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

    let mut specs = tiny_specs();
    specs.iter_mut().for_each(|spec| spec.required = true);
    let error = Weights::from_checkpoint(&specs, checkpoint()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "missing weights: \"dense.kernel\" (\"dense_1_W\" in the file), \
         \"dense.bias\" (\"dense_1_b\" in the file)"
    );
}

#[test]
fn an_import_keeps_every_bit_and_says_where_it_is_from() {
    let root = tempfile::tempdir().unwrap();
    let manifest = tiny_manifest();
    let source = write(root.path(), "renamed.h5", TINY_THEANO);
    let store = root.path().join("not/yet/there");
    let report = import(&source, &tiny_specs(), &manifest, &store).unwrap();
    assert_eq!(report.path, store.join("tiny.safetensors"));
    assert_eq!(report.size, fs::metadata(&report.path).unwrap().len());
    assert_eq!((report.tensors, report.parameters, report.absent.len()), (6, 83, 0));
    assert_eq!(report.source.digest, DigestCheck::Known { file: "tiny_theano.h5".to_string() });

    let weights = load(&report.path, &tiny_specs(), &manifest).unwrap();
    let original = load(&source, &tiny_specs(), &manifest).unwrap();
    for (name, tensor) in original.iter() {
        assert_eq!(bytes_of(weights.get(name).unwrap()), bytes_of(tensor), "{name}");
    }
    let info = weights.info();
    assert_eq!(info.format, Some(WeightsFormat::Safetensors));
    assert_eq!(info.dtype, DType::F32);
    assert_eq!(info.variant, Some(Variant::Theano));
    assert_eq!(info.source_sha256.as_deref(), Some(sha256_hex(TINY_THEANO).as_str()));
    assert_eq!(info.licence.as_deref(), Some("MIT"));
    assert_eq!(info.origin, Some(manifest.origin()));
    assert_eq!(info.digest, DigestCheck::Unknown);

    // The same weights give the same bytes, and nothing temporary stays behind.
    let first = fs::read(&report.path).unwrap();
    import(&source, &tiny_specs(), &manifest, &store).unwrap();
    assert_eq!(fs::read(&report.path).unwrap(), first);
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
}

#[test]
fn a_changed_array_is_no_longer_the_published_file() {
    let root = tempfile::tempdir().unwrap();
    let manifest = tiny_manifest();
    let source = write(root.path(), "tiny_theano.h5", TINY_THEANO);
    let original = load(&source, &tiny_specs(), &manifest).unwrap();
    // The same array changes nothing.
    let mut weights = original.clone();
    weights.insert("conv1.bias", original.get("conv1.bias").unwrap().clone());
    assert_eq!(weights, original);
    for name in ["conv1.bias", "bn1.running_mean", "extra"] {
        let mut weights = original.clone();
        weights.insert(name, HostTensor::new([3], vec![1.0, 2.0, 3.5]).unwrap());
        let info = weights.info();
        assert_eq!((&info.sha256, &info.source_sha256, &info.origin), (&None, &None, &None), "{name}");
        assert_eq!(info.digest, DigestCheck::Unknown, "{name}");
        // Which way its kernels lie, whose model it is and under which licence stay true.
        assert_eq!((info.variant, &info.licence), (original.info().variant, &original.info().licence));
        let path = root.path().join("changed.safetensors");
        export(&weights, &path, DType::F32).unwrap();
        let read = load(&path, &tiny_specs(), &manifest).unwrap();
        assert_eq!((&read.info().source_sha256, &read.info().origin), (&None, &None), "{name}");
    }
}

#[test]
fn f16_is_written_when_it_can_hold_the_numbers() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("half.safetensors");
    export(&tiny_weights(), &path, DType::F16).unwrap();
    let weights = load(&path, &tiny_specs(), &tiny_manifest()).unwrap();
    assert_eq!(weights.info().dtype, DType::F16);
    // Quarters up to 31.25 are exact in f16.
    for (name, tensor) in tiny_weights().iter() {
        assert_eq!(weights.get(name).unwrap(), tensor, "{name}");
    }

    let before = fs::read(&path).unwrap();
    let large =
        Weights::from_tensors([("w".to_string(), HostTensor::new([2], vec![1.0, 70_000.0]).unwrap())]);
    let error = export(&large, &path, DType::F16).unwrap_err();
    assert!(error.to_string().starts_with("weight \"w\": 70000 at index 1 does not fit f16"), "{error}");
    let nan = Weights::from_tensors([("w".to_string(), HostTensor::new([1], vec![f32::NAN]).unwrap())]);
    assert!(matches!(export(&nan, &path, DType::F32), Err(WeightsError::NotFinite { index: 0, .. })));
    assert_eq!(fs::read(&path).unwrap(), before, "a refused export leaves the old file");
}

#[test]
fn a_changed_copy_of_a_published_file_is_never_silent() {
    let root = tempfile::tempdir().unwrap();
    let manifest = tiny_manifest();
    // The last array of the file: still a number, but another one.
    let mut changed = TINY_THEANO.to_vec();
    let at = changed.len() - 1;
    changed[at] ^= 1;
    let path = write(root.path(), "tiny_theano.h5", &changed);
    let mismatch = DigestCheck::Mismatch {
        file: "tiny_theano.h5".to_string(),
        expected: sha256_hex(TINY_THEANO),
        found: sha256_hex(&changed),
    };
    assert_eq!(load(&path, &tiny_specs(), &manifest).unwrap().info().digest, mismatch);
    let report = verify(&path, &tiny_specs(), &manifest).unwrap();
    assert_eq!((report.is_good(), report.contents.is_ok()), (false, true));
    assert_eq!(report.digest, mismatch);

    // The user's own file with another name has no digest to compare.
    let own = write(root.path(), "own.h5", &changed);
    assert_eq!(load(&own, &tiny_specs(), &manifest).unwrap().info().digest, DigestCheck::Unknown);

    // A truncated file cannot be read: the error says that, and that it is not the published file.
    let path = write(root.path(), "tiny_theano.h5", &TINY_THEANO[..9000]);
    let error = load(&path, &tiny_specs(), &manifest).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&path.display().to_string()), "{text}");
    assert!(text.contains("not the published \"tiny_theano.h5\": expected sha256"), "{text}");
    assert!(verify(&path, &tiny_specs(), &manifest).unwrap().contents.is_err());
}

#[test]
fn verify_tells_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let path = write(root.path(), "tiny_tensorflow.h5", TINY_TENSORFLOW);
    let report = verify(&path, &tiny_specs(), &tiny_manifest()).unwrap();
    assert!(report.is_good());
    assert_eq!(report.format, Some(WeightsFormat::Keras));
    let contents = report.contents.unwrap();
    assert_eq!((contents.tensors, contents.trainable, contents.statistics), (4, 57, 6));
    assert_eq!(contents.absent, ["dense.kernel", "dense.bias"]);
    assert!(contents.info.ignored.is_empty());
}

#[test]
fn the_best_file_is_located() {
    let root = tempfile::tempdir().unwrap();
    let manifest = tiny_manifest();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let mut locator = Locator { search: vec![first.clone(), second.clone()], ..Locator::default() };

    let error = locator.locate(&manifest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resource);
    let text = error.to_string();
    for part in [
        "tiny.safetensors, tiny_theano.h5, tiny_tensorflow.h5",
        &first.display().to_string(),
        &second.display().to_string(),
        "https://example.org",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let in_checkout = write(&second, "data/tiny_tensorflow.h5", TINY_TENSORFLOW);
    assert_eq!(locator.locate(&manifest).unwrap(), in_checkout);
    let tensorflow = write(&second, "tiny_tensorflow.h5", TINY_TENSORFLOW);
    assert_eq!(locator.locate(&manifest).unwrap(), tensorflow);
    let theano = write(&second, "tiny_theano.h5", TINY_THEANO);
    assert_eq!(locator.locate(&manifest).unwrap(), theano);
    let own = write(&second, &own_file_name("tiny"), b"");
    assert_eq!(locator.locate(&manifest).unwrap(), own);
    let nearer = write(&first, "tiny_tensorflow.h5", TINY_TENSORFLOW);
    assert_eq!(locator.locate(&manifest).unwrap(), nearer);
    locator.variant = Some(Variant::Theano);
    assert_eq!(locator.locate(&manifest).unwrap(), theano);

    locator.explicit = Some(first.clone());
    assert!(
        matches!(locator.locate(&manifest), Err(WeightsError::NotFound { searched, .. }) if searched == [first])
    );
    locator.explicit = Some(tensorflow.clone());
    assert_eq!(locator.locate(&manifest).unwrap(), tensorflow, "an explicit file is taken as it is");
    locator.explicit = Some(root.path().join("nowhere"));
    assert!(matches!(locator.locate(&manifest), Err(WeightsError::Io { .. })));

    let names: Vec<String> = list(&second, [&manifest])
        .iter()
        .map(|entry| entry.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["tiny.safetensors", "tiny_theano.h5", "tiny_tensorflow.h5"]);
    assert!(list(&root.path().join("nowhere"), [&manifest]).is_empty());
}

#[test]
fn other_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let read = |path: &Path| load(path, &tiny_specs(), &tiny_manifest()).unwrap_err();
    let error = read(&write(root.path(), "a.h5", b"<!DOCTYPE html>"));
    assert!(
        error.to_string().contains("expected Keras 1 HDF5 or safetensors, found a file that begins"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(read(&write(root.path(), "b.h5", b"")).to_string().contains("begins with []"));
    assert!(read(root.path()).to_string().ends_with("expected a regular file"));
    assert_eq!(read(&root.path().join("none.h5")).kind(), ErrorKind::Resource);

    // Made by somebody else: the layout is not known, so the numbers are not taken.
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let foreign = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    let error = read(&write(root.path(), "c.safetensors", &foreign));
    assert!(
        error.to_string().ends_with("metadata \"tagwave_format\": expected \"1\", found nothing"),
        "{error}"
    );
}

/// 10 GB as a sparse file: refused by its length, before anything is read.
#[cfg(unix)]
#[test]
fn a_huge_file_and_an_endless_one_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("huge.h5");
    fs::File::create(&path).unwrap().set_len(10_000_000_000).unwrap();
    let error = load(&path, &tiny_specs(), &tiny_manifest()).unwrap_err();
    assert!(error.to_string().ends_with("expected at most 1073741824 bytes, found 10000000000"), "{error}");
    let error = load(Path::new("/dev/zero"), &tiny_specs(), &tiny_manifest()).unwrap_err();
    assert!(error.to_string().ends_with("expected a regular file"), "{error}");
}

/// Round trip of each published file through safetensors, with tensor specs derived from the file.
#[test]
fn published_files_survive_an_import() {
    let Some(directory) = fixtures() else { return };
    let root = tempfile::tempdir().unwrap();
    for text in MANIFESTS {
        let manifest = Manifest::parse(text).unwrap();
        for file in &manifest.files {
            let path = directory.join(&file.name);
            let checkpoint = Checkpoint::from_bytes(fs::read(&path).unwrap()).unwrap();
            let specs: Vec<TensorSpec> = checkpoint
                .tensors()
                .iter()
                .map(|(name, tensor)| TensorSpec::trainable(format!("our.{name}"), name, tensor.shape()))
                .collect();
            let report = import(&path, &specs, &manifest, root.path()).unwrap();
            assert_eq!(report.source.digest, DigestCheck::Known { file: file.name.clone() });
            let weights = load(&report.path, &specs, &manifest).unwrap();
            for (name, tensor) in checkpoint.tensors() {
                assert_eq!(
                    bytes_of(weights.get(&format!("our.{name}")).unwrap()),
                    bytes_of(tensor),
                    "{name}"
                );
            }
            assert_eq!(weights.info().source_sha256.as_ref(), Some(&file.sha256));
            assert!(verify(&report.path, &specs, &manifest).unwrap().is_good());
            println!("{}: {} arrays, {} bytes as safetensors", file.name, report.tensors, report.size);

            // All published numbers fit f16, should somebody want half the size.
            export(&weights, &report.path, DType::F16).unwrap();
            assert_eq!(load(&report.path, &specs, &manifest).unwrap().info().dtype, DType::F16);
        }
    }
    // Files of another model in the store are an error.
    let compact = Manifest::parse(MANIFESTS[2]).unwrap();
    let own = root.path().join(own_file_name("crnn"));
    let error = load(&own, &[], &compact).unwrap_err().to_string();
    assert!(error.ends_with("metadata \"model\": expected \"compact\", found \"crnn\""), "{error}");
}
