//! A server of our own in a container: the sole user of testcontainers, and of the engine's interface that it re-exports.
//!
//! Containers carry their owner's name as a label from the moment they are created, so that what a killed run leaves is
//! known to the next.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::Mount;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ImageExt, TestcontainersError};
use testcontainers_modules::postgres::Postgres;

use super::error::ServerError;
use super::own_thread::on_own_thread;
use super::server::{MINIMUM_MAJOR, SETTINGS};
use super::stamp::{PREFIX, Stamp};
use super::sweep::Swept;

const REPOSITORY: &str = "postgres";
/// Pulled where no image of the repository is there and none was asked for.
const DEFAULT_TAG: &str = "17";
const ENGINE_LIMIT: Duration = Duration::from_secs(5);
/// A pull may take long, but not without a sign of life.
const PULL_SILENCE: Duration = Duration::from_secs(20);
const START_LIMIT: Duration = Duration::from_secs(90);
/// A request to make a container that was let go is carried out all the same.
const MAKING_LIMIT: Duration = Duration::from_secs(3);
const REMOVE_LIMIT: Duration = Duration::from_secs(10);
const PORT: u16 = 5432;
/// Where the data are, whatever volume the image declares.
const MEMORY: &str = "/tenantproof";
const MEMORY_LIMIT: i64 = 4 << 30;
/// The same ground as the local server stands on, whatever the image's own default is.
const INITDB: &str = "--no-sync --encoding=UTF8 --locale=C.UTF-8 --wal-segsize=1";

/// Whether an image that is not there may be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    /// Only take what is there: another provider is at hand.
    Never,
    /// The user asked for a container.
    IfMissing,
}

/// A container engine that answered.
pub(super) struct Engine {
    docker: Docker,
}

impl Engine {
    /// Finds the engine, within [`ENGINE_LIMIT`].
    pub(super) async fn find() -> Result<Self, ServerError> {
        let find = async {
            let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
            docker.ping().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(docker)
        };
        match tokio::time::timeout(ENGINE_LIMIT, find).await {
            Ok(Ok(docker)) => Ok(Self { docker }),
            Ok(Err(error)) => Err(ServerError::NoEngine {
                reason: format!("none answers ({error})"),
            }),
            Err(_) => Err(ServerError::NoEngine {
                reason: format!("none answers within {} s", ENGINE_LIMIT.as_secs()),
            }),
        }
    }

    /// Removes the containers of dead owners.
    pub(super) async fn sweep(&self) -> Swept {
        let mut swept = Swept::default();
        let filter = HashMap::from([("label", vec![PREFIX])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let list = tokio::time::timeout(ENGINE_LIMIT, self.docker.list_containers(Some(options))).await;
        let Ok(Ok(containers)) = list else {
            return swept;
        };
        for container in containers {
            let owner = container
                .labels
                .as_ref()
                .and_then(|labels| labels.get(PREFIX)?.parse::<Stamp>().ok());
            let (Some(owner), Some(id)) = (owner, container.id) else {
                continue;
            };
            if owner.owner_is_dead() && self.remove(&id).await {
                swept.containers.push(owner.to_string());
            }
        }
        swept
    }

    /// Starts a server from the image of this version, or the best one that is there.
    pub(super) async fn start(
        &self,
        asked: Option<&str>,
        pull: Pull,
    ) -> Result<(Container, PgConnectOptions), ServerError> {
        let (name, tag) = self.image(asked, pull).await?;
        let image = format!("{name}:{tag}");
        let stamp = Stamp::new();
        let host = self.host_to_bind().await;
        // Nobody else is to get in; roles of a schema need a password of their own to log in.
        let password = format!("{:016x}{:016x}", random(), random());
        let settings = SETTINGS
            .iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        let mut request = Postgres::default()
            .with_password(&password)
            .with_name(&name)
            .with_tag(&tag)
            .with_label(PREFIX, stamp.to_string())
            .with_env_var("POSTGRES_INITDB_ARGS", INITDB)
            // Without it, initdb compares all zones of the world with the clock: seconds on a busy machine.
            .with_env_var("TZ", "UTC")
            // In memory: the server is files by the thousand.
            .with_mount(Mount::tmpfs_mount(MEMORY).with_size_bytes(MEMORY_LIMIT))
            .with_env_var("PGDATA", format!("{MEMORY}/data"))
            .with_cmd(settings)
            .with_startup_timeout(START_LIMIT);
        if let Some(host) = host.clone() {
            request = request.with_host_config_modifier(move |config| publish_on(config, &host));
        }
        // Until the container is ours, whatever ends this function must remove what the engine may have made of it.
        let mut unfinished = Unfinished {
            stamp: Some(stamp),
            patience: MAKING_LIMIT,
        };
        let failed = |source: TestcontainersError| ServerError::Container {
            image: image.clone(),
            source: Box::new(source),
        };
        let running = request.start().await;
        unfinished.patience = Duration::ZERO;
        let running = running.map_err(failed)?;
        let host = match host {
            Some(host) => host,
            None => running.get_host().await.map_err(failed)?.to_string(),
        };
        let port = running.get_host_port_ipv4(PORT).await.map_err(failed)?;
        unfinished.finished();
        let options = PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port)
            .username("postgres")
            .password(&password)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging();
        Ok((Container { running: Some(running) }, options))
    }

    /// Repository and tag: of what is there, the exact tag, else one of that version, else (none asked for) the newest.
    async fn image(&self, asked: Option<&str>, pull: Pull) -> Result<(String, String), ServerError> {
        if let Some((name, tag)) = asked.and_then(|asked| asked.rsplit_once(':')) {
            // A whole reference, such as pgvector/pgvector:pg17.
            let there = self.docker.inspect_image(&format!("{name}:{tag}")).await.is_ok();
            if !there {
                self.pull(name, tag, pull).await?;
            }
            return Ok((name.to_owned(), tag.to_owned()));
        }
        let there = self.images().await;
        if let Some(found) = choose(&there, asked) {
            return Ok(found);
        }
        let tag = asked.unwrap_or(DEFAULT_TAG);
        self.pull(REPOSITORY, tag, pull).await?;
        Ok((REPOSITORY.to_owned(), tag.to_owned()))
    }

    async fn images(&self) -> Vec<(String, String)> {
        let filter = HashMap::from([("reference", vec![REPOSITORY])]);
        let options = ListImagesOptionsBuilder::new().filters(&filter).build();
        let list = tokio::time::timeout(ENGINE_LIMIT, self.docker.list_images(Some(options))).await;
        let Ok(Ok(images)) = list else {
            return Vec::new();
        };
        let split = |reference: &String| {
            reference
                .rsplit_once(':')
                .map(|(name, tag)| (name.to_owned(), tag.to_owned()))
        };
        images
            .iter()
            .flat_map(|image| &image.repo_tags)
            .filter_map(split)
            .collect()
    }

    async fn pull(&self, name: &str, tag: &str, pull: Pull) -> Result<(), ServerError> {
        let missing = |reason: String| ServerError::NoImage {
            image: format!("{name}:{tag}"),
            reason,
        };
        if pull == Pull::Never {
            return Err(missing("the engine does not hold it".into()));
        }
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut progress = pin!(self.docker.create_image(Some(options), None, None));
        loop {
            match tokio::time::timeout(PULL_SILENCE, progress.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(missing(format!("the pull failed ({error})"))),
                Err(_) => {
                    return Err(missing(format!(
                        "the pull made no progress for {} s",
                        PULL_SILENCE.as_secs()
                    )));
                }
            }
        }
    }

    /// The address only we (and the engine's other containers) reach; none for an engine on another machine, where the
    /// port must be open to the network.
    async fn host_to_bind(&self) -> Option<String> {
        let is_here = std::env::var("DOCKER_HOST").map_or(true, |host| host.is_empty() || host.starts_with("unix:"));
        if !is_here {
            return None;
        }
        let loopback = || "127.0.0.1".to_owned();
        if !Path::new("/.dockerenv").exists() {
            return Some(loopback());
        }
        // As testcontainers has it: in a container, the gateway of the engine's bridge is the way to our siblings, and where
        // it has none, the engine runs in here.
        let bridge = self.docker.inspect_network("bridge", None).await.ok();
        let addresses = bridge.and_then(|bridge| bridge.ipam?.config).unwrap_or_default();
        let gateway = addresses
            .into_iter()
            .find_map(|address| address.gateway.filter(|gateway| !gateway.trim().is_empty()));
        Some(gateway.unwrap_or_else(loopback))
    }

    async fn remove(&self, id: &str) -> bool {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        matches!(
            tokio::time::timeout(REMOVE_LIMIT, self.docker.remove_container(id, Some(options))).await,
            Ok(Ok(()))
        )
    }

    /// Removes the container with this label; one that the engine may still be making is waited for.
    async fn remove_labelled(&self, stamp: &Stamp, patience: Duration) {
        let filter = HashMap::from([("label", vec![format!("{PREFIX}={stamp}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let begun = Instant::now();
        let mut seen = false;
        loop {
            let list = self.docker.list_containers(Some(options.clone())).await;
            let ids: Vec<String> = list
                .unwrap_or_default()
                .into_iter()
                .filter_map(|container| container.id)
                .collect();
            if ids.is_empty() && (seen || begun.elapsed() > patience) {
                return;
            }
            // One that is listed may still be in the making, and cannot be removed yet.
            seen |= !ids.is_empty();
            for id in &ids {
                self.remove(id).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn publish_on(config: &mut HostConfig, host: &str) {
    let binding = PortBinding {
        host_ip: Some(host.to_owned()),
        host_port: Some(String::new()),
    };
    config.publish_all_ports = Some(false);
    config.port_bindings = Some(HashMap::from([(format!("{PORT}/tcp"), Some(vec![binding]))]));
}

fn choose(there: &[(String, String)], asked: Option<&str>) -> Option<(String, String)> {
    let number = |tag: &str| {
        tag.split(|c: char| !c.is_ascii_digit())
            .next()
            .and_then(|digits| digits.parse::<u32>().ok())
    };
    let is_of = |tag: &str, version: &str| {
        tag.strip_prefix(version)
            .is_some_and(|rest| rest.starts_with(['.', '-']))
    };
    let best = match asked {
        Some(asked) => there
            .iter()
            .find(|(_, tag)| tag == asked)
            .or_else(|| there.iter().filter(|(_, tag)| is_of(tag, asked)).max()),
        None => there
            .iter()
            .filter(|(_, tag)| tag == "latest" || number(tag).is_some_and(|major| major >= MINIMUM_MAJOR))
            // Of one major, the plain tag before `-alpine` and the like.
            .max_by_key(|(_, tag)| (number(tag), std::cmp::Reverse(tag.len()), tag.clone())),
    };
    best.cloned()
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A running container; removed on [`Container::stop`] or drop.
#[derive(Debug)]
pub(super) struct Container {
    running: Option<ContainerAsync<Postgres>>,
}

impl Container {
    /// Removes it, and its volume.
    pub(super) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            let _ = tokio::time::timeout(REMOVE_LIMIT, running.rm()).await;
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            on_own_thread(async move {
                let _ = tokio::time::timeout(REMOVE_LIMIT, running.rm()).await;
            });
        }
    }
}

/// A container that is being started: removed when the start fails or is given up.
struct Unfinished {
    stamp: Option<Stamp>,
    /// How long the engine may take to show it.
    patience: Duration,
}

impl Unfinished {
    fn finished(mut self) {
        self.stamp = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(stamp) = self.stamp.take() {
            let patience = self.patience;
            on_own_thread(async move {
                if let Ok(engine) = Engine::find().await {
                    let _ = tokio::time::timeout(REMOVE_LIMIT, engine.remove_labelled(&stamp, patience)).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: Option<&str>, expected: Option<&str>) {
        let there = ["13", "15", "17.2-alpine", "17.2", "16-alpine", "latest"]
            .map(|tag| (REPOSITORY.to_owned(), tag.to_owned()));
        assert_eq!(choose(&there, asked).map(|(_, tag)| tag).as_deref(), expected);
    }

    #[test]
    fn an_image_that_is_there_is_taken_before_one_is_pulled() {
        check(None, Some("17.2"));
        check(Some("15"), Some("15"));
        check(Some("16"), Some("16-alpine"));
        check(Some("1"), None);
        check(Some("18"), None);
        assert_eq!(choose(&[], None), None);
    }
}
