//! What is in deploy/: dashboards and alerts that name what is really served, and files that whoever they are for can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::metrics::{scrape, stage};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap()
}

/// The names of metrics in a text, each with the selectors in braces behind it, as written.
fn used(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_lowercase()) {
        rest = &rest[start..];
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.starts_with("invigil_") || word.starts_with("process_") {
            let selectors = after.strip_prefix('{').and_then(|inner| inner.split('}').next()).unwrap_or_default();
            found.push((word, selectors));
        }
        rest = after;
    }
    found
}

/// Whether a served series has this name and, where labels are compared with `=`, these labels.
fn is_served(series: &BTreeMap<String, f64>, name: &str, selectors: &str) -> bool {
    // In JSON the quotes are escaped.
    let selectors = selectors.replace('\\', "");
    // Prometheus itself adds the job.
    let is_exact = |label: &&str| label.contains("=\"") && !label.contains("!=") && !label.starts_with("job=");
    let exact: Vec<&str> = selectors.split(',').map(str::trim).filter(is_exact).collect();
    series.keys().any(|served| {
        let (served_name, labels) = served.split_once('{').unwrap_or((served, ""));
        served_name == name && exact.iter().all(|label| labels.contains(label))
    })
}

#[tokio::test]
async fn every_metric_of_dashboard_and_alerts_is_served_from_the_start() {
    let stage = stage().await;
    let series = scrape(&stage).await;
    for path in ["grafana/invigil.json", "prometheus/invigil.rules.yml"] {
        let text = read(path);
        let used = used(&text);
        assert!(used.len() >= 15, "{path}: {used:?}");
        for (name, selectors) in used {
            assert!(is_served(&series, name, selectors), "{path}: {name}{{{selectors}}} is not served");
        }
    }
    assert!(!is_served(&series, "invigil_verdicts_total", r#"status=\"splendid\""#), "this test can fail");
    serde_json::from_str::<Value>(&read("grafana/invigil.json")).unwrap();
}

/// What scripts/check_deploy.py says of this folder.
fn checked(folder: &Path) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("tests/cache/venv/bin/python");
    let mut command = Command::new(&python);
    command.arg(root.join("scripts/check_deploy.py")).arg("--deploy").arg(folder);
    let output = command.args(["--invigil", env!("CARGO_BIN_EXE_invigil")]).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; run `make test-setup`", python.display()));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn haproxy_compose_and_kubernetes_can_read_what_is_for_them() {
    let (fine, said) = checked(&deploy(""));
    assert!(fine, "{said}");
    for what in ["haproxy/haproxy.cfg", "compose/compose.yaml", "kubernetes/"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok           {what}"))), "{what} in {said}");
    }
    // Each check can fail.
    let broken = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(deploy(".")).arg(broken.path()).status().unwrap();
    assert!(copied.success());
    let replace = |path: &str, what: &str, by: &str| {
        let path = broken.path().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(what), "{what} is not in {}", path.display());
        std::fs::write(path, text.replace(what, by)).unwrap();
    };
    replace("haproxy/haproxy.cfg", "balance leastconn", "balance leastconns");
    replace("compose/compose.yaml", "    restart: unless-stopped\n", "    restarts: unless-stopped\n");
    replace("compose/invigil.toml", "access_key_id", "access_key_idea");
    replace("kubernetes/vision.yaml", "failureThreshold: 60", "failureTreshold: 60");
    replace("kubernetes/gateway.yaml", "terminationGracePeriodSeconds: 25", "terminationGracePeriodSeconds: 14");
    let (fine, said) = checked(broken.path());
    assert!(!fine);
    for words in [
        "balance only supports",
        "restarts",
        "access_key_idea",
        "failureTreshold",
        "terminationGracePeriodSeconds is 14",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
}

#[test]
fn systemd_can_read_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("systemd-analyze is not here: the unit is not checked");
        return;
    }
    // The unit names a program and a user of the target machine; here it must name ones that exist.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("invigil.service");
    let text = read("systemd/invigil.service").replace("/usr/local/bin/invigil", env!("CARGO_BIN_EXE_invigil"));
    std::fs::write(&unit, text).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("invigil")).collect();
    assert!(verified.status.success() && about_us.is_empty(), "{said}");

    let broken = folder.path().join("broken.service");
    std::fs::write(&broken, "[Service]\nExecStart=relative/path\nProtectSystem=perhaps\n").unwrap();
    let refused = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&broken).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("broken.service"), "this test can fail");

    let mut security = Command::new("systemd-analyze");
    let security = security.args(["security", "--offline=true", "--no-pager"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&security.stdout).into_owned();
    println!("{}", said.lines().last().unwrap_or_default());
}

/// `MemoryDenyWriteExecute` of the unit stands on this: checking a face with the CPU provider needs no memory that is
/// written and executed.
#[test]
fn a_face_is_checked_without_memory_that_is_written_and_executed() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let people = crate::harness::models().join("people/webcam_man");
    let checked = Command::new("strace")
        .args(["-f", "-e", "trace=mmap,mprotect,pkey_mprotect", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_invigil"), "face", "--models"])
        .arg(crate::harness::models())
        .args(["--provider", "cpu", "compare"])
        .args([people.join("001.jpg"), people.join("002.jpg")])
        .output()
        .expect("make test-setup installs strace");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("similarity"), "the models ran");
    let trace = std::fs::read_to_string(trace).unwrap();
    let executable: Vec<&str> = trace.lines().filter(|line| line.contains("PROT_EXEC")).collect();
    assert!(executable.len() >= 3, "libraries are mapped for execution: {trace}");
    let written = executable.iter().find(|line| line.contains("mprotect(") || line.contains("PROT_WRITE"));
    assert_eq!(written, None);
}
