//! What computes the face models: every provider that loads here sees the same faces, and one that does not run is
//! refused with its reason. In processes of their own, because each holds one ONNX Runtime.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use invigil::vision::{Manifest, Provider};
use serde_json::{Value, json};

use crate::harness::models;
use crate::harness::process::{Home, Process};

fn invigil(arguments: &[&str], models: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invigil")).args(arguments).arg("--models").arg(models).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `make models` leaves when only the CPU provider is asked for.
fn only_cpu() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, _) in Manifest::embedded().files() {
        let target = folder.path().join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        symlink(models().canonicalize().unwrap().join(file), target).unwrap();
    }
    folder
}

#[test]
fn the_same_faces_give_the_same_decisions_under_every_provider() {
    let compare = ["bench", "photos", "--rounds", "0", "--alone", "--unaltered", "--faces-every", "4", "--json"];
    let compared = invigil(&compare, &models());
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    let table: Value = serde_json::from_slice(&compared.stdout).unwrap();
    assert_eq!(table["absent"], json!([]), "run `make models`");
    let engines = table["engines"].as_array().unwrap();
    assert_eq!(engines.len(), 3);
    for engine in engines {
        let faces = &engine["faces"];
        assert!(faces["photos"].as_u64().unwrap() > 60, "{engine}");
        assert!(faces["decisions"].as_u64().unwrap() > 400, "{engine}");
        assert_eq!((&faces["other_decisions"], &faces["other_photos"]), (&json!([]), &json!([])), "{engine}");
        let least = if engine["engine"].as_str().unwrap().ends_with("f32") { 0.9999 } else { 0.995 };
        assert!(faces["cosine_least"].as_f64().unwrap() >= least, "{engine}");
    }
    assert_eq!(engines[0]["engine"], "cpu f32");
    assert_eq!(engines[1]["engine"], "openvino f32");
}

#[test]
fn where_only_the_cpu_provider_is_it_runs_and_the_others_are_refused_by_name() {
    let folder = only_cpu();
    let verified = invigil(&["models", "verify"], folder.path());
    let said = text(&verified.stdout);
    assert!(verified.status.success(), "{said}");
    assert!(said.contains("run on cpu in f32 (onnxruntime 1.26.0); openvino was tried: "), "{said}");
    let manifest = Manifest::embedded();
    for (name, provider) in [("openvino", Provider::Openvino), ("cuda", Provider::Cuda)] {
        assert!(said.contains(&format!("is not fetched: {name} cannot run")), "{said}");
        let refused = invigil(&["models", "verify", "--provider", name], folder.path());
        let why = text(&refused.stderr);
        let library = folder.path().join(manifest.runtime(provider).file.parent().unwrap());
        assert!(!refused.status.success());
        assert!(why.contains(library.to_str().unwrap()) && why.contains("make models"), "{why}");
    }
}

#[test]
fn a_library_with_other_bytes_is_not_loaded() {
    let folder = only_cpu();
    for (file, _) in Manifest::embedded().runtime(Provider::Openvino).files() {
        let target = folder.path().join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        symlink(models().canonicalize().unwrap().join(file), target).unwrap();
    }
    let plug_in = folder.path().join("lib/openvino/libopenvino_intel_cpu_plugin.so");
    std::fs::remove_file(&plug_in).unwrap();
    std::fs::write(&plug_in, b"something else").unwrap();
    let detected = invigil(&["models", "verify"], folder.path());
    assert!(!detected.status.success());
    assert!(text(&detected.stdout).contains("libopenvino_intel_cpu_plugin.so: SHA-256 is"));
    let photo = models().join("people/webcam_man/001.jpg");
    let asked = invigil(&["face", "--provider", "openvino", "detect", photo.to_str().unwrap()], folder.path());
    assert!(text(&asked.stderr).contains("libopenvino_intel_cpu_plugin.so: SHA-256 is"), "{}", text(&asked.stderr));
    let asked = invigil(&["face", "detect", photo.to_str().unwrap()], folder.path());
    assert!(asked.status.success(), "the CPU provider takes its place: {}", text(&asked.stderr));
}

#[tokio::test]
async fn a_server_without_its_provider_starts_only_where_another_may_take_its_place() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = only_cpu();
    let mut home = Home::new(1_000);
    home.models = folder.path().to_owned();
    let command = |fallback: &str| {
        let mut command = home.command(&[], None);
        command.env("INVIGIL_VISION__PROVIDER", "cuda").env("INVIGIL_VISION__FALLBACK", fallback);
        command
    };
    let refused = Process::start(command("false")).await.err().unwrap();
    assert!(refused.contains("lib/cuda/") && refused.contains("make models"), "{refused}");
    let server = Process::start(command("true")).await.unwrap();
    let ready = reqwest::get(format!("http://{}/readyz", server.address)).await.unwrap();
    let report: Value = ready.json().await.unwrap();
    let vision = json!({
        "provider": "cpu", "precision": "f32", "library": "onnxruntime 1.26.0",
        "refused": [["cuda", "missing"], ["openvino", "missing"]],
    });
    assert_eq!(report["vision"], vision);
    server.terminate();
}
