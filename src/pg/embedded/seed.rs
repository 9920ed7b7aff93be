//! The initialised cluster that every embedded instance starts from.
//!
//! `initdb` takes three seconds in WebAssembly, so it runs once: its files become a "cluster seed" of oliphaunt-wasix
//! (a packed tar with a manifest), which is kept in memory for this process and beside the runtime's cache for the
//! next. A seed that no longer fits the runtime is made anew. Running an instance is not done here.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use oliphaunt_wasix::DatabaseStorage;
use oliphaunt_wasix::session::{CatalogProfile, ClusterSeed, PreparedDatabase};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Named after the runtime, so that another release of it never meets an older seed.
const FILE: &str = "tenantproof-seed-0.3.2";
const RUNTIME_VERSION: &str = "0.3.2";
const USER: &str = "postgres";

static SEED: Mutex<Option<ClusterSeed>> = Mutex::new(None);

/// A fresh cluster in memory, from the seed of this process, that of the `cache`, or a new one.
pub(super) fn prepare(cache: &Path) -> anyhow::Result<PreparedDatabase> {
    // Held while the seed is made: instances that start together wait for one initdb instead of running many.
    let mut seed = SEED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = seed.clone() {
        return plant(seed);
    }
    let file = cache.join(FILE);
    if let Some(kept) = load(&file).ok().flatten()
        && let Ok(prepared) = plant(kept.clone())
    {
        *seed = Some(kept);
        return Ok(prepared);
    }
    let made = make(&file)?;
    *seed = Some(made.clone());
    plant(made)
}

fn plant(seed: ClusterSeed) -> anyhow::Result<PreparedDatabase> {
    PreparedDatabase::prepare_with_seed(DatabaseStorage::Memory, CatalogProfile::Standard, USER, Some(seed))
}

/// Runs initdb, packs what it wrote, and keeps it in `file` if that can be written.
fn make(file: &Path) -> anyhow::Result<ClusterSeed> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("cluster");
    let mut prepared =
        PreparedDatabase::prepare(DatabaseStorage::Directory(root.clone()), CatalogProfile::Standard, USER)?;
    let mut packed = Packed::new()?;
    packed.add(&root.join("pgdata"), Path::new(""))?;
    let (archive, count) = packed.finish()?;
    let module = sha256(&fs::read(prepared.runtime()?.runtime_root().join("bin/postgres"))?);
    prepared.release()?;

    let manifest = serde_json::to_vec(&json!({
        "schema": "oliphaunt-cluster-seed-v1",
        "artifactRole": "cluster-seed-standard",
        "catalogProfile": "standard",
        "runtime": {
            "product": "liboliphaunt-wasix",
            "version": RUNTIME_VERSION,
            "engineFamily": "wasix",
            "target": "portable",
            "physicalFormat": "wasix-pg18-v1",
            "postgresMajor": 18,
            "compatibilityKey": "wasix-pg18-datum32-v1",
            "consumerSha256": module,
            "producerSha256": module,
            "initdbSha256": "",
        },
        "source": { "producer": "wasix-initdb" },
        "archive": {
            "path": FILE,
            "sha256": sha256(&archive),
            "compressedBytes": archive.len(),
            "expandedBytes": count.bytes,
            "regularFiles": count.files,
            "directories": count.folders,
        },
        "requiredRuntimeFeatures": [],
        "extensions": { "selected": [], "startupConfiguration": [] },
        "icu": null,
    }))?;
    // Only a later process would miss it.
    let _ = keep(file, &manifest, &archive);
    Ok(ClusterSeed::new(archive, manifest))
}

/// Manifest and archive in one file, put in place by a rename: a reader sees all or nothing.
fn keep(file: &Path, manifest: &[u8], archive: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut staged = tempfile::NamedTempFile::new_in(folder)?;
    staged.write_all(&(manifest.len() as u64).to_be_bytes())?;
    staged.write_all(manifest)?;
    staged.write_all(archive)?;
    staged.persist(file).map_err(|e| e.error)?;
    Ok(())
}

fn load(file: &Path) -> io::Result<Option<ClusterSeed>> {
    let mut file = fs::File::open(file)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(usize::try_from(u64::from_be_bytes(length))
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .map(|(manifest, archive)| ClusterSeed::new(archive, manifest)))
}

#[derive(Default)]
struct Count {
    bytes: u64,
    files: u64,
    folders: u64,
}

struct Packed {
    tar: tar::Builder<zstd::Encoder<'static, Vec<u8>>>,
    count: Count,
}

impl Packed {
    fn new() -> io::Result<Self> {
        let tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
        Ok(Self {
            tar,
            count: Count::default(),
        })
    }

    fn add(&mut self, folder: &Path, inside: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, inside) = {
                let entry = entry?;
                (entry.path(), inside.join(entry.file_name()))
            };
            if path.is_dir() {
                self.tar.append_dir(&inside, &path)?;
                self.count.folders += 1;
                self.add(&path, &inside)?;
            } else {
                self.tar.append_path_with_name(&path, &inside)?;
                self.count.files += 1;
                self.count.bytes += path.metadata()?.len();
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<(Vec<u8>, Count)> {
        Ok((self.tar.into_inner()?.finish()?, self.count))
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
