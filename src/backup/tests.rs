use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::auth::keys::{DataKey, Keys};
use crate::clock::Entropy;
use crate::store::evidence::Evidence;
use crate::store::{Store, fixture};

/// A data folder with keys, one closed session with its log and verdict, and two learners with a photo each.
struct Home {
    folder: tempfile::TempDir,
    store: Store,
}

impl Home {
    async fn new() -> Self {
        let (folder, store) = fixture::embedded_with_session("s1").await;
        let entropy = Entropy::seeded(1);
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let evidence = Evidence::open(&folder.path().join(PHOTOS_FOLDER)).unwrap();
        for learner in ["a", "b"] {
            let key = DataKey::generate(&entropy);
            let photo = evidence.put(&entropy, &key, &format!("photo-of-{learner}"), b"a face".to_vec()).await.unwrap();
            let sealed = hex::encode(keys.wrap(&entropy, learner, &key));
            fixture::execute(
                &store,
                &format!(
                    "INSERT INTO learner (id, data_key, photo_version, created_at) VALUES ('{learner}', x'{sealed}', 1, 0);
                     INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                     VALUES ('{learner}', 1, 'd', '{photo}', x'0102', 'p1', 0);"
                ),
            )
            .await;
        }
        fixture::execute(&store, "UPDATE session SET closed_at = 5").await;
        fixture::seal(&store, 1, b"one\ntwo\n", "").await;
        Self { folder, store }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn place(&self, name: &str) -> PathBuf {
        self.path().join("elsewhere").join(name)
    }

    fn back_up(&self, name: &str, with_keys: bool) -> PathBuf {
        fs::create_dir_all(self.path().join("elsewhere")).unwrap();
        let to = self.place(name);
        let manifest = create(self.path(), &to, with_keys, None, 1_000).unwrap();
        assert_eq!(manifest.missing_photos, [""; 0]);
        to
    }
}

fn problems(backup: &Path) -> Vec<String> {
    verify(backup).unwrap().problems
}

fn has_key(database: &Path, learner: &str) -> bool {
    let tombstone = Tombstone { learner: learner.into(), at: 0 };
    !Inspection::open(database, true).unwrap().revived(&[tombstone]).unwrap().is_empty()
}

#[tokio::test]
async fn photos_in_a_bucket_are_named_and_not_missed() {
    let home = Home::new().await;
    fs::remove_dir_all(home.path().join(PHOTOS_FOLDER)).unwrap();
    let bucket = Some("s3://photos/a".to_owned());
    fs::create_dir_all(home.path().join("elsewhere")).unwrap();
    let manifest = create(home.path(), &home.place("one"), true, bucket.clone(), 1_000).unwrap();
    assert_eq!((&manifest.photos_bucket, manifest.missing_photos.len()), (&bucket, 0));
    assert_eq!(problems(&home.place("one")), [""; 0]);
    let restored = restore(&home.place("one"), &home.place("again"), None, false).unwrap();
    assert_eq!(restored.manifest.photos_bucket, bucket);
}

#[tokio::test]
async fn a_photo_that_goes_past_its_retention_during_a_backup_is_not_missing() {
    let home = Home::new().await;
    let deleted =
        "INSERT INTO photo (session, capture, digest, evidence, created_at) VALUES (1, 'c1', 'd', 'photo-old', 0)";
    fixture::execute(&home.store, deleted).await;
    // The copy of the database is of before the deletion: made here, where its file is missing, and then noted.
    let copied = home.path().join("copied.sqlite");
    Inspection::open(&home.path().join(DATABASE_FILE), false).unwrap().copy_to(&copied).unwrap();
    fixture::execute(&home.store, "UPDATE photo SET deleted_at = 77").await;
    let names = ["photo-old".to_owned()].into();
    let gone = Inspection::open(&home.path().join(DATABASE_FILE), false).unwrap().deleted_photos(&names).unwrap();
    delete_offline(&copied, &gone).unwrap();
    let mut there = Vec::new();
    let read = Inspection::open(&copied, true).unwrap().photos(&mut |name| {
        there.push(name.to_owned());
        Ok::<_, StoreError>(())
    });
    read.unwrap();
    there.sort();
    assert_eq!(there, ["photo-of-a", "photo-of-b"]);
    // And a backup that is made after it does not look for the file.
    assert_eq!(problems(&home.back_up("one", false)), [""; 0]);
}

#[tokio::test]
async fn a_backup_is_whole_and_private_and_becomes_a_data_folder_again() {
    let home = Home::new().await;
    let backup = home.back_up("one", false);
    assert_eq!(problems(&backup), [""; 0]);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(backup.join(DATABASE_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!backup.join("master.key").exists(), "the keys are not in it");
    assert!(!home.place("one.partial").exists());

    let restored = restore(&backup, &home.place("data"), None, false).unwrap();
    assert_eq!(restored.missing_keys, ["master.key", "identity.pepper"]);
    let store = Store::open(&home.place("data")).unwrap();
    let key = home.store.session_key("s1").await.unwrap().unwrap();
    assert_eq!(store.read_log(key).await.unwrap(), b"one\ntwo\n");
    assert_eq!(store.sealed_data_key("a").await.unwrap(), home.store.sealed_data_key("a").await.unwrap());
    let photo = Path::new(PHOTOS_FOLDER).join(relative_path(&EvidenceId::parse("photo-of-a").unwrap()));
    assert_eq!(fs::read(home.path().join(&photo)).unwrap(), fs::read(home.place("data").join(&photo)).unwrap());
}

#[tokio::test]
async fn the_keys_are_in_it_when_asked_for() {
    let home = Home::new().await;
    let backup = home.back_up("one", true);
    let restored = restore(&backup, &home.place("data"), None, false).unwrap();
    assert_eq!(restored.missing_keys, [""; 0]);
    assert_eq!(fs::metadata(home.place("data/master.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(home.place("data/master.key")).unwrap(), fs::read(home.path().join("master.key")).unwrap());
}

#[tokio::test]
async fn whatever_is_damaged_is_named_and_not_restored() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("its digest differs", |backup| flip(&backup.join(PHOTOS_FOLDER).join(photo("a")))),
        ("No such file", |backup| fs::remove_file(backup.join(PHOTOS_FOLDER).join(photo("b"))).unwrap()),
        ("should have", |backup| fs::write(backup.join(PHOTOS_FOLDER).join(photo("b")), b"x").unwrap()),
        ("invigil.sqlite: its digest differs", |backup| flip(&backup.join(DATABASE_FILE))),
        ("is not the list", |backup| {
            let list = fs::read_to_string(backup.join(LIST_FILE)).unwrap();
            fs::write(backup.join(LIST_FILE), list.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>())
                .unwrap();
        }),
        ("its verdict is not about its log", |backup| edit(backup, "UPDATE verdict SET body = '{}', checksum = NULL")),
        ("verdict cannot be read", |backup| edit(backup, "UPDATE verdict SET body = body || ' '")),
        ("segment cannot be read", |backup| edit(backup, "UPDATE segment SET lines = x'1f8b'")),
    ];
    let home = Home::new().await;
    for (index, (said, damage)) in damages.into_iter().enumerate() {
        let backup = home.back_up(&format!("b{index}"), false);
        damage(&backup);
        let found = problems(&backup).join("\n");
        assert!(found.contains(said), "{said}: {found}");
        let refused = restore(&backup, &home.place("data"), None, false);
        assert!(matches!(refused, Err(BackupError::Damaged(_))), "{said}");
        assert!(!home.place("data").exists() && !home.place("data.restoring").exists(), "{said}");
    }
}

fn photo(learner: &str) -> PathBuf {
    relative_path(&EvidenceId::parse(&format!("photo-of-{learner}")).unwrap())
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Changes a backup's database, and its list so that only the content is wrong.
fn edit(backup: &Path, sql: &str) {
    let database = backup.join(DATABASE_FILE);
    rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    let (size, sha256) = measure(&database).unwrap();
    let mut bytes = 0;
    let lines: String = entries(backup)
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            if entry.path == DATABASE_FILE {
                (entry.bytes, entry.sha256) = (size, sha256.clone());
            }
            bytes += entry.bytes;
            serde_json::to_string(&entry).unwrap() + "\n"
        })
        .collect();
    fs::write(backup.join(LIST_FILE), lines).unwrap();
    let mut manifest = read_manifest(backup).unwrap();
    (manifest.bytes, manifest.list_sha256) = (bytes, measure(&backup.join(LIST_FILE)).unwrap().1);
    fs::write(backup.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[tokio::test]
async fn a_restore_does_not_revive_a_forgotten_learner() {
    let home = Home::new().await;
    let backup = home.back_up("before", true);
    assert!(has_key(&backup.join(DATABASE_FILE), "a"));
    let sealed = home.store.sealed_data_key("a").await.unwrap().unwrap();
    let _ = home.store.forget_learner("a", 7).await.unwrap();

    // The tombstones of the lost folder, by hand.
    let restored = restore(&backup, &home.place("data"), Some(&home.path().join(TOMBSTONES_FILE)), false).unwrap();
    assert_eq!((restored.forgotten_again, restored.photos_left_out), (vec!["a".to_owned()], 1));
    assert!(
        !has_key(&home.place("data").join(DATABASE_FILE), "a") && has_key(&home.place("data").join(DATABASE_FILE), "b")
    );
    assert!(!home.place("data").join(PHOTOS_FOLDER).join(photo("a")).exists());
    assert!(home.place("data").join(PHOTOS_FOLDER).join(photo("b")).exists());
    let bytes = fs::read(home.place("data").join(DATABASE_FILE)).unwrap();
    assert!(!bytes.windows(16).any(|window| window == &sealed[..16]), "traces of the key");

    // In the place of a folder that knows it; the keys stay as well.
    drop(Store::open(&home.place("data")).unwrap());
    let restored = restore(&backup, &home.place("data"), None, true).unwrap();
    assert_eq!(restored.forgotten_again, ["a"]);
    assert_eq!(restored.replaced.as_deref(), Some(home.place("data.before-restore").as_path()));
    assert!(!has_key(&home.place("data").join(DATABASE_FILE), "a"));
    assert_eq!(read_tombstones(&home.place("data").join(TOMBSTONES_FILE)).unwrap().len(), 1);

    // And a backup that is made afterwards does not know the key at all.
    let after = home.back_up("after", false);
    assert!(!has_key(&after.join(DATABASE_FILE), "a"));
    assert_eq!(problems(&after), [""; 0]);
}

#[tokio::test]
async fn nothing_is_overwritten_unasked_or_in_use() {
    let home = Home::new().await;
    let backup = home.back_up("one", false);
    let again = create(home.path(), &backup, false, None, 1_000);
    assert!(again.unwrap_err().to_string().contains("exists already"));
    let refused = restore(&backup, home.path(), None, false);
    assert!(refused.unwrap_err().to_string().contains("is not empty"));
    let held = crate::store::folder_lock(home.path()).unwrap();
    let refused = restore(&backup, home.path(), None, true);
    assert!(refused.unwrap_err().to_string().contains("another invigil is using it"));
    drop(held);
    let refused = create(&home.place("nowhere"), &home.place("two"), false, None, 1_000);
    assert!(refused.unwrap_err().to_string().contains("this is no data folder"));
}

#[tokio::test]
async fn a_photo_that_is_missing_is_said_and_does_not_stop_the_backup() {
    let home = Home::new().await;
    fs::remove_file(home.path().join(PHOTOS_FOLDER).join(photo("a"))).unwrap();
    let manifest = create(home.path(), &home.path().join("b"), false, None, 1_000).unwrap();
    assert_eq!(manifest.missing_photos, ["photo-of-a"]);
    assert!(problems(&home.path().join("b"))[0].contains("photo-of-a"));
}

#[tokio::test]
async fn a_list_does_not_lead_out_of_the_folder() {
    let home = Home::new().await;
    let backup = home.back_up("one", false);
    fs::write(backup.join(LIST_FILE), "{\"path\":\"../../master.key\",\"bytes\":32,\"sha256\":\"\"}\n").unwrap();
    assert!(verify(&backup).is_err());
}
