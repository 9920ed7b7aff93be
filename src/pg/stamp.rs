//! The name that everything we put into the world carries (folders, containers, databases, marks on roles), and the
//! question it answers: is the process that made this dead, so that it may be swept up?
//!
//! The name alone must answer, because a killed process leaves nothing else behind.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// First part of every name we give.
pub(crate) const PREFIX: &str = "tenantproof";

/// A process of another machine cannot be looked up; what it made is swept when it is older than this.
const FOREIGN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Who made a thing, and when: `tenantproof_<pid>_<host>_<start>_<created>_<serial>`.
///
/// At most 61 bytes, so that PostgreSQL (63) keeps it whole, and of lower-case letters, digits and `_`, so that it needs
/// no quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pid: u32,
    host: u32,
    start: u64,
    created: u64,
    serial: u32,
}

impl Stamp {
    /// A new one, owned by this process.
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        Self {
            pid,
            host: this_host(),
            start: start_of(pid).unwrap_or(0),
            created: unix_seconds(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether the owner is gone for certain. In doubt: no.
    ///
    /// A pid is used again after a while, hence the start time beside it.
    pub(crate) fn owner_is_dead(&self) -> bool {
        if self.host != this_host() {
            return unix_seconds().saturating_sub(self.created) > FOREIGN_AGE.as_secs();
        }
        match start_of(self.pid) {
            Some(start) => start != self.start,
            None => !process_exists(self.pid),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            host,
            start,
            created,
            serial,
        } = self;
        write!(f, "{PREFIX}_{pid}_{host:08x}_{start:x}_{created:x}_{serial}")
    }
}

impl FromStr for Stamp {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let mut parts = text.split('_');
        let mut next = || parts.next().ok_or(NotOurs);
        if next()? != PREFIX {
            return Err(NotOurs);
        }
        let stamp = Self {
            pid: next()?.parse().map_err(|_| NotOurs)?,
            host: u32::from_str_radix(next()?, 16).map_err(|_| NotOurs)?,
            start: u64::from_str_radix(next()?, 16).map_err(|_| NotOurs)?,
            created: u64::from_str_radix(next()?, 16).map_err(|_| NotOurs)?,
            serial: next()?.parse().map_err(|_| NotOurs)?,
        };
        // Only what we would write ourselves is ours: no `+1`, no upper case, no further parts.
        if stamp.to_string() == text {
            Ok(stamp)
        } else {
            Err(NotOurs)
        }
    }
}

/// The name is not one of ours.
#[derive(Debug)]
pub(crate) struct NotOurs;

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Where a pid has a meaning: one boot of one host, one pid namespace.
fn this_host() -> u32 {
    static HOST: OnceLock<u32> = OnceLock::new();
    *HOST.get_or_init(|| {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let name = match read("/proc/sys/kernel/hostname") {
            name if name.is_empty() => output_of("hostname", &[]).unwrap_or_default(),
            name => name,
        };
        let boot = read("/proc/sys/kernel/random/boot_id");
        let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let hash = fnv([name.trim(), boot.trim(), &pids.to_string_lossy()]
            .join("\n")
            .as_bytes());
        (hash ^ (hash >> 32)) as u32
    })
}

/// When a process began, in a unit of its own; none where there is no such process, or it is a zombie.
fn start_of(pid: u32) -> Option<u64> {
    if cfg!(target_os = "linux") {
        // "pid (name) state ppid ...": the name may hold spaces and parentheses; the start time is the 22nd field.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            None
        } else {
            fields.nth(18)?.parse().ok()
        }
    } else {
        let started = output_of("ps", &["-o", "lstart=", "-p", &pid.to_string()])?;
        if started.trim().is_empty() {
            None
        } else {
            Some(fnv(started.trim().as_bytes()) >> 24)
        }
    }
}

/// Whether a process that cannot be looked at is there all the same (`/proc` may hide those of other users).
fn process_exists(pid: u32) -> bool {
    let is_zombie = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok();
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    !is_zombie && rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// FNV-1a: the same in every build, which the standard library's hashers do not promise.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_itself() {
        let stamp = Stamp::new();
        assert_eq!(stamp.to_string().parse::<Stamp>().unwrap(), stamp);
    }

    #[test]
    fn the_longest_name_fits_an_identifier() {
        // Pids end at 2^22; a machine that has been up for 30 years is at 2^37 ticks.
        let stamp = Stamp {
            pid: 4_194_304,
            host: u32::MAX,
            start: 1 << 40,
            created: 1 << 33,
            serial: 9_999_999,
        };
        assert!(
            stamp.to_string().len() <= 63,
            "{stamp} is {} bytes",
            stamp.to_string().len()
        );
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "tenantproof",
            "tenantproof_prod",
            "tenantproof_1_2_3_4",
            "tenantproof_1_00000002_3_4_5_6",
            "tenantproof_+1_00000002_3_4_5",
            "tenantproof_1_0000000A_3_4_5",
            "tenantproof_1_00000002_3_4_05",
            "other_1_00000002_3_4_5",
        ] {
            assert!(name.parse::<Stamp>().is_err(), "{name} was taken for ours");
        }
    }

    #[test]
    fn a_living_owner_is_not_dead() {
        assert!(!Stamp::new().owner_is_dead());
    }

    #[test]
    fn a_reused_pid_is_another_owner() {
        let stamp = Stamp::new();
        assert!(
            Stamp {
                start: stamp.start.wrapping_sub(1),
                ..stamp
            }
            .owner_is_dead()
        );
    }

    #[test]
    fn a_process_that_ended_is_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stamp = Stamp {
            pid: child.id(),
            start: start_of(child.id()).unwrap(),
            ..Stamp::new()
        };
        assert!(!stamp.owner_is_dead());
        child.kill().unwrap();
        while start_of(child.id()).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(stamp.owner_is_dead(), "a zombie counts as alive");
        child.wait().unwrap();
        assert!(stamp.owner_is_dead());
    }

    #[test]
    fn what_another_machine_made_is_left_for_a_day() {
        let stamp = Stamp::new();
        let foreign = Stamp {
            host: stamp.host.wrapping_add(1),
            pid: 4_194_304,
            ..stamp
        };
        assert!(!foreign.owner_is_dead());
        assert!(
            Stamp {
                created: foreign.created - 25 * 60 * 60,
                ..foreign
            }
            .owner_is_dead()
        );
    }
}
