//! A process that holds a server, to be killed: this test binary, started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use tenantproof::pg::{Server, ServerOptions};

const CHOICE: &str = "TENANTPROOF_TEST_CHOICE";
const ROLE: &str = "TENANTPROOF_TEST_ROLE";
const PATIENCE: &str = "TENANTPROOF_TEST_PATIENCE_MS";

/// Not a test: what the child runs.
#[tokio::test]
#[ignore = "the child process of other tests"]
async fn hold_a_server() {
    let Ok(choice) = std::env::var(CHOICE) else {
        return;
    };
    let options = ServerOptions {
        choice: choice.parse().unwrap(),
        version: None,
    };
    if let Ok(patience) = std::env::var(PATIENCE) {
        // As on Ctrl-C: what is being started is let go, and the process ends well.
        let patience = std::time::Duration::from_millis(patience.parse().unwrap());
        let _ = tokio::time::timeout(patience, Server::start(&options)).await;
        return;
    }
    let server = Server::start(&options).await.unwrap_or_else(|error| {
        println!("\nREFUSED failed to {error}");
        std::process::exit(1)
    });
    let scratch = server.scratch().await.unwrap();
    if let Ok(role) = std::env::var(ROLE) {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect_with(&scratch.connect_options())
            .await
            .unwrap();
        let statement = format!("BEGIN; CREATE ROLE {role}; CREATE TABLE t (); ALTER TABLE t OWNER TO {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        scratch.note_created_roles(&mut connection).await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
    }
    let passed_over: Vec<String> = server
        .passed_over()
        .iter()
        .map(|(who, why)| format!("{who}: {why}"))
        .collect();
    println!(
        "\nREADY {} {} {} | {}",
        server.kind(),
        server.version(),
        scratch.name(),
        passed_over.join("; ")
    );
    // Until stdin closes: then a normal way out.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    scratch.drop_now().await.unwrap();
    server.stop().await;
}

/// The child process; killed on drop.
pub struct Holder {
    pub child: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    /// A command for a child that takes its server from `choice`.
    pub fn command(choice: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["child::hold_a_server", "--exact", "--ignored", "--nocapture"])
            .env(CHOICE, choice);
        command
    }

    /// A command for a child that also has a role created.
    pub fn command_with_role(choice: &str, role: &str) -> Command {
        let mut command = Self::command(choice);
        command.env(ROLE, role);
        command
    }

    /// A command for a child that gives up starting after so many milliseconds.
    pub fn command_that_gives_up(choice: &str, patience: u64) -> Command {
        let mut command = Self::command(choice);
        command.env(PATIENCE, patience.to_string());
        command
    }

    /// Starts it; does not wait until it is ready.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its report: `READY kind version database | passed over`, or `REFUSED reason`.
    pub fn report(&mut self) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the child ended without a report:\n{seen}"
            );
            if line.starts_with("READY ") || line.starts_with("REFUSED ") {
                return line.trim_end().to_owned();
            }
            seen.push_str(&line);
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it go its normal way out.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
