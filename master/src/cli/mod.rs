//! The command line. Each command ends with 0 when what was asked happened, with
//! 1 and the reason when it did not, with 2 when the usage or the configuration
//! is wrong: one line on standard error, nothing changed.

mod agent;
mod agent_status;
mod arranging;
mod certs;
mod channels;
mod death;
mod deploy;
mod doctor;
mod fence;
mod journal;
mod logging;
mod past;
mod restart;
mod status;
mod text;
mod verbs;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, Once, PoisonError},
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::json;

use self::verbs::{AbortArguments, SlotArguments, StepDownArguments, VerbArguments};
use crate::{
    admin::client::Client,
    config::{Config, Mistake, Options, default_file, examine, from_here, in_order, read},
    error::{EXIT_DONE, EXIT_FAILED, EXIT_OUTPUT, EXIT_USAGE, Error},
    reload::{Source, log_filter},
    run::run,
    runtime_dir,
};

/// Moves a bot's shards from build to build without losing an event.
#[derive(Debug, Parser)]
#[command(
    name = "baton-master",
    version,
    after_help = "Exit codes: 0 done; 1 failed, refused or rolled back, or no master answers; 2 wrong usage or \
                  configuration, or a second master; 3 a deploy is done, and a session or events were lost \
                  meanwhile; 4 another master has taken over; 5 this one stepped down or leads no more, and stands by \
                  when it is started again; 74 done, but standard output could not be written; 130 a deploy \
                  was no longer watched (Ctrl-C) and goes on.\n\
                  Colour: on a terminal, unless NO_COLOR is set."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the master
    ///
    /// SIGTERM and SIGINT: it leaves, the slaves keep serving. SIGUSR1: deploys the
    /// first slot's own command again. SIGHUP: reads the configuration again; the
    /// log says what changed and what needs a restart.
    Run(RunArguments),
    /// Run the agent of a host: it launches, watches and kills slaves there for the master
    ///
    /// It dials the masters again for ever, and knows its slaves again after its own restart. SIGTERM
    /// and SIGINT: it ends, and with --on-exit stop, or as process 1, its slaves too. With COMMAND it
    /// is the parent of one slave, and ends with it, and with its exit code.
    Agent(agent::AgentArguments),
    /// Say how the agent of this host does, for a person, a probe or a hook before its end
    ///
    /// Ends with 1 if none answers.
    AgentStatus(agent_status::AgentStatusArguments),
    /// Replace the running build, show the progress
    Deploy(deploy::DeployArguments),
    /// Deploy the command that the slot had before the present one, show the progress
    ///
    /// Asked for again it brings the present one back. It is a deploy of its own: a deploy
    /// that runs is sent back with `abort`.
    Rollback(deploy::BackArguments),
    /// Stop the running deploy: what moved goes back
    ///
    /// With --moves it is about shards that move to another slot, and no deploy: those that
    /// have not moved yet stay where they are.
    Abort(AbortArguments),
    /// Hold the running deploy: shards in hand finish, no further one begins
    Pause(SlotArguments),
    /// Have a paused deploy go on
    Continue(SlotArguments),
    /// Move shards to another slot, without a deploy: both slaves serve meanwhile
    Move(arranging::MoveArguments),
    /// Move every shard off hosts, to the least loaded slots of the others
    ///
    /// All of them are cordoned first, so nothing moves from one to the other.
    Drain(arranging::DrainArguments),
    /// Place nothing onto hosts any more; what is there stays
    Cordon(arranging::CordonArguments),
    /// Let hosts be given shards again
    Uncordon(arranging::CordonArguments),
    /// Move as few shards as it takes for every slot to have as many
    Rebalance(arranging::RebalanceArguments),
    /// Have nothing begin by itself: no launch, no standby that steps in, no move
    ///
    /// Deaths are noted, and what an operator asks for is done. It lasts until
    /// `hold --release`, also under the next master.
    Hold(arranging::HoldArguments),
    /// Restart one shard in place: its owner seals it, and resumes it on a new connection
    RestartShard(restart::RestartArguments),
    /// Have shards without a session IDENTIFY now, from the reserve of the day's budget too
    ///
    /// For when Discord is well again: it cuts the pause after refused IDENTIFYs short, and
    /// frees what limits.identify_reserve keeps back, until Discord's next reset.
    Identify(VerbArguments),
    /// Show and change which channels the bot is in, on Twitch
    Channels(channels::ChannelsArguments),
    /// Forget that Discord refused a late seal: the next deploy that asks for them tries
    RetryLateSeal(VerbArguments),
    /// Have another master lead: one of those that share this one's store
    ///
    /// The master leaves as on SIGTERM, and ends with exit code 5: what started it starts it
    /// again, and it stands by.
    StepDown(StepDownArguments),
    /// Say that a slave, or a host with all its slaves, is dead that cannot be reached: shards go on
    /// elsewhere
    Fence(fence::FenceArguments),
    /// Show the fleet, once or live
    Status(status::StatusArguments),
    /// Show what happened: alarms, deaths, lost sessions, deploys, also without a master
    Events(past::EventsArguments),
    /// Show the last deploys with their gaps and what they brought
    History(past::HistoryArguments),
    /// Say what is wrong with the fleet, or will be, and what to do
    ///
    /// Ends with 1 if there is an error; warnings are none. Without a master: what
    /// would keep one from starting.
    Doctor(doctor::DoctorArguments),
    /// Show or check what a master would find at its start
    Journal(journal::JournalArguments),
    /// Make, renew and show the certificates with which other hosts may dial
    Certs(certs::CertsArguments),
    /// Check the configuration and do nothing: names every mistake with its line
    CheckConfig(CheckArguments),
    /// Print completions for a shell: bash, zsh, fish
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write a manual page for each command into a folder
    #[command(hide = true)]
    ManPages {
        /// Which folder
        folder: PathBuf,
    },
    /// Show the points at which BATON_CRASH_AT can have the master killed
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    CrashPoints,
}

#[derive(Debug, Args)]
struct ConfigArguments {
    /// Configuration file [default: baton/baton.toml in ~/.config or /etc]
    #[arg(long, env = "BATON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one line of JSON with the bound addresses when ready
    #[arg(long)]
    json_ready: bool,
    /// Command of the first slot, instead of the configured one
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How a command finds its master.
#[derive(Debug, Args)]
struct OperatorArguments {
    /// Configuration file of the master [default: baton/baton.toml in ~/.config
    /// or /etc]
    #[arg(long, env = "BATON_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Runtime directory of the master
    #[arg(long, env = "BATON_RUNTIME_DIR", value_name = "DIR", global = true)]
    runtime_dir: Option<PathBuf>,
}

impl OperatorArguments {
    fn client(&self) -> Result<Client, Error> {
        let dir = match &self.runtime_dir {
            Some(dir) => dir.clone(),
            None => self.options()?.runtime_dir(),
        };
        Ok(Client::new(&runtime_dir::admin_socket(&dir)))
    }

    /// Where the master keeps what is to stay.
    fn data_dir(&self) -> Result<PathBuf, Error> {
        let options = self.options()?;
        let runtime_dir = || {
            self.runtime_dir
                .clone()
                .unwrap_or_else(|| options.runtime_dir())
        };
        Ok(options.data_dir.clone().unwrap_or_else(runtime_dir))
    }

    /// What the file says. A mistake in it is reported once, and is no hindrance: the
    /// master that runs read an earlier one.
    fn options(&self) -> Result<Options, Error> {
        static SAID: Once = Once::new();
        let file = self.config.clone().or_else(default_file);
        let (options, mistakes) = match examine(file.as_deref(), Options::default()) {
            Ok(examined) => examined,
            Err(error) if self.config.is_none() => (Options::default(), vec![Mistake::of(&error)]),
            Err(error) => return Err(error),
        };
        if let Some(first) = mistakes.first() {
            SAID.call_once(|| {
                let more = match mistakes.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                complain(&format!(
                    "baton-master: warning: {first}{more}; a running master goes on with what it has, \
                     and so does this command: baton-master check-config says more"
                ));
            });
        }
        Ok(options)
    }
}

/// Blocking work that is still under way at the end gets so long.
const AT_THE_END: Duration = Duration::from_secs(1);

/// Parses the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let _flush_at_the_end = baton_log::catch_panics();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    // Two providers cannot be installed; this is the first and only one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::system("start the runtime", error)),
    };
    let ended = runtime.block_on(dispatch(arguments.command));
    // A disk that hangs under a task must not hold the process.
    runtime.shutdown_timeout(AT_THE_END);
    match ended {
        Ok(EXIT_DONE) => ExitCode::from(told()),
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

async fn dispatch(command: Command) -> Result<u8, Error> {
    match command {
        Command::Run(arguments) => {
            #[cfg(debug_assertions)]
            crate::test_hooks::crash::check()?;
            #[cfg(debug_assertions)]
            crate::test_hooks::other_build::check()?;
            let file = arguments.config.config.or_else(default_file);
            let given = arguments.config.options;
            let options = read(file.as_deref(), given.clone())?;
            let log = log_filter(&options);
            let set_log = logging::start(&options, &log)?;
            let command = match (arguments.command, std::env::current_dir()) {
                (command, _) if command.is_empty() => None,
                (command, Ok(here)) => {
                    Some(from_here(command, &here).map_err(Error::Configuration)?)
                }
                (command, Err(_)) => Some(command),
            };
            let config = Config::check(options, command.clone())?;
            let json_ready = arguments.json_ready;
            let source = Source {
                file,
                given,
                command,
                log,
                set_log,
            };
            run(config, source, |ready| {
                if json_ready {
                    let line = serde_json::to_string(ready).unwrap_or_default();
                    // The process that started it may read nothing.
                    std::thread::spawn(move || say(&line));
                }
            })
            .await?;
            Ok(EXIT_DONE)
        }
        Command::Agent(arguments) => agent::run(arguments).await,
        Command::AgentStatus(arguments) => agent_status::run(arguments).await,
        Command::Deploy(arguments) => deploy::run(arguments).await,
        Command::Rollback(arguments) => deploy::back(arguments).await,
        Command::Events(arguments) => past::events(arguments).await,
        Command::History(arguments) => past::history(arguments).await,
        Command::RestartShard(arguments) => restart::run(arguments).await,
        Command::Channels(arguments) => channels::run(arguments).await,
        Command::RetryLateSeal(arguments) => {
            let done = "the next deploy that asks for late seals tries one";
            arguments.ask("/v1/retry-late-seal", done).await
        }
        Command::Identify(arguments) => {
            let done = "shards without a session try now; the reserve may be spent until the reset";
            arguments.ask("/v1/identify", done).await
        }
        Command::Abort(arguments) => arguments.ask().await,
        Command::Pause(arguments) => {
            let done = "paused: no further shard begins; baton-master continue goes on";
            arguments.ask("/v1/pause", done).await
        }
        Command::Continue(arguments) => arguments.ask("/v1/continue", "the deploy goes on").await,
        Command::StepDown(arguments) => arguments.ask().await,
        Command::Move(arguments) => arranging::moves(arguments).await,
        Command::Drain(arguments) => arranging::drain(arguments).await,
        Command::Cordon(arguments) => arranging::cordon(arguments).await,
        Command::Uncordon(arguments) => arranging::uncordon(arguments).await,
        Command::Rebalance(arguments) => arranging::rebalance(arguments).await,
        Command::Hold(arguments) => arranging::hold(arguments).await,
        Command::Fence(arguments) => fence::run(arguments).await,
        Command::Status(arguments) => status::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Journal(arguments) => journal::run(&arguments),
        Command::Certs(arguments) => certs::run(arguments),
        Command::Completions { shell } => {
            say(String::from_utf8_lossy(&completions(shell)).trim_end());
            Ok(EXIT_DONE)
        }
        Command::ManPages { folder } => {
            clap_mangen::generate_to(Arguments::command(), &folder)
                .map_err(|error| Error::system(format!("write to {}", folder.display()), error))?;
            Ok(EXIT_DONE)
        }
        Command::CheckConfig(arguments) => check_config(arguments),
        #[cfg(debug_assertions)]
        Command::CrashPoints => {
            crate::test_hooks::crash::names()
                .iter()
                .for_each(|name| say(name));
            Ok(EXIT_DONE)
        }
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Arguments::command(),
        "baton-master",
        &mut script,
    );
    if shell != Shell::Bash {
        return script;
    }
    // The generator takes the hyphen of the program's name for a subcommand in one half of
    // its script and not in the other, so that nothing behind the first word fits.
    let script = String::from_utf8_lossy(&script);
    script
        .replace("baton__subcmd__master", "baton__master")
        .into_bytes()
}

/// Names everything that is wrong, a line each.
fn check_config(arguments: CheckArguments) -> Result<u8, Error> {
    let file = arguments.config.config.or_else(default_file);
    let (options, mut mistakes) = examine(file.as_deref(), arguments.config.options)?;
    let mut worries = Vec::new();
    match Config::check_all(options, None) {
        Ok(config) => worries = config.worries(),
        Err(more) => mistakes.extend(more),
    }
    for worry in worries {
        complain(&format!("baton-master: warning: {worry}"));
    }
    let mistakes = in_order(mistakes);
    let mut lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let named = file.as_ref().map(|file| file.display().to_string());
    if arguments.json {
        say(&json!({ "ok": lines.is_empty(), "file": named, "mistakes": lines }).to_string());
    } else if lines.is_empty() {
        say(&match named {
            Some(file) => format!("the configuration is good: {file}"),
            None => {
                "the configuration is good; there is no file: every key has its default".to_owned()
            }
        });
    } else {
        let last = lines.pop().unwrap_or_default();
        for line in lines {
            complain(&format!("baton-master: {line}"));
        }
        return Err(Error::Configuration(last));
    }
    Ok(if mistakes.is_empty() {
        EXIT_DONE
    } else {
        EXIT_USAGE
    })
}

/// clap's help and version go to standard output and are no failure; its errors
/// become one line.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        let line = text.split("\n\n").next().unwrap_or_default();
        let line = line.trim_start_matches("error: ").split_whitespace();
        let line = line.collect::<Vec<_>>().join(" ");
        complain(&format!("baton-master: {line}; see baton-master --help"));
        ExitCode::from(EXIT_USAGE)
    } else {
        // The reader of the help may have stopped reading.
        let _ = error.print();
        ExitCode::from(EXIT_DONE)
    }
}

fn fail(error: &Error) -> ExitCode {
    complain(&format!("baton-master: {}", error.line()));
    ExitCode::from(error.exit_code().max(EXIT_FAILED))
}

/// What standard output said when a line could not be written.
static UNWRITTEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// A line on standard output. One that cannot be written is no reason to panic, nor to
/// stop what was asked for: the exit code says it.
fn say(line: &str) {
    if let Err(error) = writeln!(io::stdout(), "{}", text::safe(line)) {
        let mut unwritten = UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.get_or_insert(error);
    }
}

/// The command succeeded; whether its output could be written.
fn told() -> u8 {
    let unwritten = UNWRITTEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match unwritten {
        None => EXIT_DONE,
        Some(error) => {
            // A reader that has enough needs no message.
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(&format!("baton-master: standard output: {error}"));
            }
            EXIT_OUTPUT
        }
    }
}

fn complain(line: &str) {
    baton_log::stderr().line(&text::safe(line));
}
