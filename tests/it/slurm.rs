//! Shards under a real Slurm: a private cluster on this machine, whose tasks are killed, cancelled, requeued and moved.
//!
//! Where Slurm is not installed, each test says so; `MAURY_REQUIRE_SLURM` makes that a failure.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::shards::{MODEL, listed};
use crate::support::{maury, refused, say, succeeded, wait_until};

/// A controller and some nodes of two CPUs, all on the loopback and below one folder; gone when this is.
struct Cluster {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

const PROGRAMS: [&str; 6] = ["munged", "mungekey", "slurmctld", "slurmd", "sbatch", "scontrol"];

/// PATH with the places of daemons behind it.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Cluster {
    /// Starts one, where Slurm is installed.
    fn start(n_nodes: usize) -> Option<Self> {
        let is_here = |program: &&str| path().split(':').any(|folder| Path::new(folder).join(program).exists());
        let absent: Vec<&str> = PROGRAMS.into_iter().filter(|program| !is_here(program)).collect();
        if !absent.is_empty() {
            let remedy = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge";
            assert!(std::env::var_os("MAURY_REQUIRE_SLURM").is_none(), "no {} here; {remedy}", absent.join(", "));
            say(&format!("SKIPPED: shards under Slurm need {} ({remedy})", absent.join(", ")));
            return None;
        }
        // Sockets below it must have short names.
        let folder = tempfile::Builder::new().prefix("slurm").tempdir_in("/tmp").unwrap();
        let mut cluster = Self { folder, daemons: Vec::new() };
        let dir = cluster.dir();
        fs::create_dir_all(dir.join("state")).unwrap();
        let key = dir.join("munge.key");
        assert!(
            cluster
                .command("mungekey")
                .args(["--create", "--bits=1024", "--keyfile"])
                .arg(&key)
                .status()
                .unwrap()
                .success()
        );
        let socket = dir.join("munge.socket");
        let at = |name: &str, file: &str| format!("--{name}={}", dir.join(file).display());
        cluster.daemon(
            "munged",
            &[
                "--foreground".into(),
                "--force".into(),
                at("key-file", "munge.key"),
                at("socket", "munge.socket"),
                at("pid-file", "munged.pid"),
                at("log-file", "munged.log"),
                at("seed-file", "munged.seed"),
            ],
        );
        wait_until("munged", || socket.exists());
        let ports: Vec<TcpListener> = (0..=n_nodes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |k: usize| ports[k].local_addr().unwrap().port();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim().split('.').next().unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let (user, place) = (user.trim(), dir.display());
        let mut conf = format!(
            "ClusterName=maury\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\n\
             CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket={place}/munge.socket\n\
             StateSaveLocation={place}/state\nSlurmdSpoolDir={place}/spool-%n\n\
             SlurmctldPidFile={place}/slurmctld.pid\nSlurmdPidFile={place}/slurmd-%n.pid\n\
             SlurmctldLogFile={place}/slurmctld.log\nSlurmdLogFile={place}/slurmd-%n.log\n\
             ProctrackType=proctrack/pgid\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\nMpiDefault=none\n\
             AccountingStorageType=accounting_storage/none\nMinJobAge=3600\n\
             SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_interval=1,sched_min_interval=0\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=1\nSlurmdTimeout=10\nKillWait=5\n\
             SlurmdParameters=config_overrides\nPartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            port(0)
        );
        for node in 0..n_nodes {
            let port = port(node + 1);
            conf += &format!(
                "NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=8000 State=UNKNOWN\n"
            );
        }
        fs::write(dir.join("slurm.conf"), conf).unwrap();
        let version = String::from_utf8(cluster.command("slurmd").arg("-V").output().unwrap().stdout).unwrap();
        // Since 24.05 nodes must be told that there are no cgroups; before, nobody knows the word.
        let number = |text: &str| {
            text.trim()
                .trim_start_matches("slurm ")
                .split('.')
                .take(2)
                .fold(0, |n, part| 100 * n + part.parse::<u32>().unwrap_or(0))
        };
        if number(&version) >= 2405 {
            fs::write(dir.join("cgroup.conf"), "CgroupPlugin=disabled\n").unwrap();
        }
        drop(ports);
        let conf = dir.join("slurm.conf").display().to_string();
        cluster.daemon("slurmctld", &["-D".into(), "-f".into(), conf.clone()]);
        for node in 0..n_nodes {
            fs::create_dir_all(dir.join(format!("spool-n{node}"))).unwrap();
            cluster.daemon("slurmd", &["-D".into(), "-N".into(), format!("n{node}"), "-f".into(), conf.clone()]);
        }
        wait_until("the nodes", || {
            let states = cluster.said("sinfo", &["--noheader", "--Node", "--format=%T"]);
            states.lines().filter(|state| state.trim() == "idle").count() == n_nodes
        });
        Some(cluster)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let own = Path::new(env!("CARGO_BIN_EXE_maury")).parent().unwrap();
        command.env("PATH", format!("{}:{}", own.display(), path())).env("SLURM_CONF", self.dir().join("slurm.conf"));
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[String]) {
        let log = fs::File::create(self.dir().join(format!("{program}-{}.out", self.daemons.len()))).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    /// Asks Slurm something, ten seconds at the most.
    fn ask(&self, here: &Path, program: &str, arguments: &[&str]) -> Output {
        self.command("timeout").arg("20").arg(program).args(arguments).current_dir(here).output().unwrap()
    }

    fn said(&self, program: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.ask(Path::new("/"), program, arguments).stdout).into_owned()
    }

    /// Submits a script; the job's number.
    fn submit(&self, here: &Path, arguments: &[&str]) -> String {
        let output = self.ask(here, "sbatch", &[&["--parsable"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    /// States of all tasks of a job.
    fn states(&self, job: &str) -> Vec<String> {
        let told = self.said("scontrol", &["--oneliner", "show", "job", job]);
        let state = |line: &str| Some(line.split("JobState=").nth(1)?.split_whitespace().next()?.to_string());
        told.lines().filter_map(state).collect()
    }

    fn wait_for_end(&self, job: &str) {
        let is_over =
            |state: &String| !["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING"].contains(&state.as_str());
        wait_until(&format!("the end of job {job}"), || {
            std::thread::sleep(Duration::from_millis(100));
            let states = self.states(job);
            !states.is_empty() && states.iter().all(is_over)
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.ask(Path::new("/"), "scancel", &["--quiet", "--state=RUNNING", "--me"]);
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Leaves the script, `<verb>.slurm`, by which Slurm does what these words say, in so many parts on one CPU each.
fn script(here: &Path, words: &[&str], n: &str) {
    let script = succeeded(here, &[words, &["--script", "slurm", "--shards", n]].concat());
    let own = |line: &str| match line {
        line if line.starts_with("#SBATCH --cpus-per-task") => {
            "#SBATCH --cpus-per-task=1 --mem=500M --time=00:10:00".to_string()
        }
        // Profiles of a login shell know nothing of this cluster.
        "#!/bin/bash -l" => "#!/bin/bash".to_string(),
        line => line.to_string(),
    };
    let text = script.lines().map(own).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(here.join(format!("{}.slurm", words[0])), text).unwrap();
    fs::create_dir(here.join("logs")).unwrap();
}

/// A list, a model, and the script that labels the one by the other in four parts.
fn prepared(n: usize) -> tempfile::TempDir {
    let folder = listed(n);
    let here = folder.path();
    script(here, &["label", "--model", MODEL, "--list", "list.txt", "--out", "labels"], "4");
    succeeded(here, &["label", "--model", MODEL, "--list", "list.txt", "--out", "whole"]);
    folder
}

fn rows_of(here: &Path, index: usize) -> usize {
    let begins = format!("shard-{index:04}-of-0004");
    let entries = fs::read_dir(here.join("labels.parts")).into_iter().flatten().flatten();
    let journals = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&begins) && name.ends_with(".jsonl")
    });
    journals.map(|path| fs::read_to_string(path).unwrap_or_default().lines().count()).sum()
}

/// The process that labels a shard of the list in a folder.
fn program_of(here: &Path, shard: &str) -> Option<String> {
    let here = fs::canonicalize(here).unwrap();
    let is_it = |process: &PathBuf| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        let is_own = words.next().is_some_and(|program| program.ends_with(b"maury"))
            && words.any(|word| word == shard.as_bytes());
        is_own && fs::read_link(process.join("cwd")).is_ok_and(|place| place == here)
    };
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    Some(processes.find(is_it)?.file_name()?.to_string_lossy().into_owned())
}

fn logs(here: &Path) -> String {
    let entries = fs::read_dir(here.join("logs")).unwrap().flatten();
    entries.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn expect_whole(here: &Path) {
    let csv = |stem: &str| fs::read_to_string(here.join(format!("{stem}.csv"))).unwrap();
    assert!(csv("labels") == csv("whole"), "{}", logs(here));
}

/// Has a merge run, after a job if one is named, which must leave what one job leaves.
fn expect_merge(cluster: &Cluster, here: &Path, after: Option<&str>) {
    let dependency = after.map(|job| format!("--dependency=afterany:{job}"));
    let words = ["--output=logs/merge.log", "--wrap", "maury merge labels"];
    let words: Vec<&str> = dependency.as_deref().into_iter().chain(words).collect();
    let merge = cluster.submit(here, &words);
    cluster.wait_for_end(&merge);
    assert_eq!(cluster.states(&merge), ["COMPLETED"], "{}", logs(here));
    expect_whole(here);
}

#[test]
fn an_array_and_a_merge_after_it_label_a_list() {
    let Some(cluster) = Cluster::start(2) else { return };
    let folder = prepared(1500);
    let here = folder.path();
    let job = cluster.submit(here, &["--array=0-3%2", "label.slurm"]);
    expect_merge(&cluster, here, Some(&job));
}

#[test]
fn a_task_whose_program_is_killed_and_one_that_is_cancelled_are_done_again() {
    let Some(cluster) = Cluster::start(2) else { return };
    let folder = prepared(3100);
    let here = folder.path();
    let job = cluster.submit(here, &["--array=0-3", "label.slurm"]);
    // The program of one task is killed, another task is cancelled.
    wait_until("rows of shard 1", || rows_of(here, 1) > 200);
    let program = program_of(here, "1/4").unwrap_or_else(|| panic!("{}", logs(here)));
    assert!(Command::new("kill").args(["-KILL", &program]).status().unwrap().success());
    let _ = cluster.ask(here, "scancel", &[&format!("{job}_3")]);
    cluster.wait_for_end(&job);
    let merge = cluster.submit(here, &["--output=logs/merge.log", "--wrap", "maury merge labels"]);
    cluster.wait_for_end(&merge);
    let log = fs::read_to_string(here.join("logs/merge.log")).unwrap();
    let array = log
        .split("--array=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("{log}{}", logs(here)));
    assert!(array.contains('1') && cluster.states(&merge) == ["FAILED"], "{log}");
    // What merge says is submitted as it says it.
    let again = cluster.submit(here, &[&format!("--array={array}"), "label.slurm"]);
    expect_merge(&cluster, here, Some(&again));
}

#[test]
fn a_task_that_is_requeued_and_one_whose_node_goes_down_go_on_where_they_were() {
    let Some(cluster) = Cluster::start(2) else { return };
    let folder = prepared(3100);
    let here = folder.path();
    let succeeds = |program: &str, arguments: &[&str]| {
        let output = cluster.ask(here, program, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // A task that was requeued waits for two minutes, unless it is told not to.
    let wait_for_restart = |task: &str| {
        wait_until("the end of what was requeued", || {
            let state = cluster.states(task).concat();
            std::thread::sleep(Duration::from_millis(100));
            if state == "PENDING" {
                let _ = cluster.ask(here, "scontrol", &["update", &format!("jobid={task}"), "starttime=now"]);
            }
            state == "COMPLETED"
        });
        let told = cluster.said("scontrol", &["--oneliner", "show", "job", task]);
        assert!(told.contains("Restarts=1"), "{told}");
    };
    let job = cluster.submit(here, &["--array=0-1", "label.slurm"]);
    wait_until("rows of shard 0", || rows_of(here, 0) > 200);
    let task = format!("{job}_0");
    succeeds("scontrol", &["requeue", &task]);
    wait_for_restart(&task);
    assert!(logs(here).contains("are labelled already"), "{}", logs(here));

    let job = cluster.submit(here, &["--array=2-3", "label.slurm"]);
    wait_until("rows of shard 2", || rows_of(here, 2) > 200);
    let task = format!("{job}_2");
    let node = cluster.said("squeue", &["--noheader", "--format=%N", &format!("--jobs={task}")]);
    let node = format!("nodename={}", node.trim());
    succeeds("scontrol", &["update", &node, "state=down", "reason=test"]);
    wait_until("shard 2 to leave its node", || cluster.states(&task).concat() == "PENDING");
    // Elsewhere: what was cut off there may still be winding down.
    wait_for_restart(&task);
    succeeds("scontrol", &["update", &node, "state=resume"]);
    // Whatever else was on that node is done again, too.
    wait_until("all tasks", || {
        for task in cluster.said("squeue", &["--noheader", "--states=PENDING", "--format=%A"]).split_whitespace() {
            let _ = cluster.ask(here, "scontrol", &["update", &format!("jobid={task}"), "starttime=now"]);
        }
        std::thread::sleep(Duration::from_millis(100));
        maury(here, &["status", "labels"]).status.success()
    });
    expect_merge(&cluster, here, None);
}

#[test]
fn posteriors_of_an_array_whose_program_is_killed_come_together() {
    let Some(cluster) = Cluster::start(2) else { return };
    let folder = listed(60);
    let here = folder.path();
    let words = |out| {
        let quick = ["--chains", "2", "--warmup", "50", "--draws", "200", "--keep-draws", "8", "--out", out];
        [&["posterior", "--model", MODEL, "--list", "list.txt"], &quick[..]].concat()
    };
    script(here, &words("labels"), "4");
    succeeded(here, &[&words("whole")[..], &["--shard", "0/1"]].concat());
    succeeded(here, &["merge", "whole"]);
    let job = cluster.submit(here, &["--array=0-3", "posterior.slurm"]);
    wait_until("rows of shard 1", || rows_of(here, 1) > 4);
    let program = program_of(here, "1/4").unwrap_or_else(|| panic!("{}", logs(here)));
    assert!(Command::new("kill").args(["-KILL", &program]).status().unwrap().success());
    cluster.wait_for_end(&job);
    refused(here, &["merge", "labels"], 3, &["sbatch --array=1 posterior.slurm"]);
    let again = cluster.submit(here, &["--array=1", "posterior.slurm"]);
    let merge = [&format!("--dependency=afterany:{again}"), "--output=logs/merge.log", "--wrap", "maury merge labels"];
    let merge = cluster.submit(here, &merge);
    cluster.wait_for_end(&merge);
    assert_eq!(cluster.states(&merge), ["COMPLETED"], "{}", logs(here));
    for name in ["summary.fits", "summary.csv", "draws.fits"] {
        let read = |out: &str| fs::read(here.join(out).join(name)).unwrap();
        assert!(read("labels") == read("whole"), "{name}");
    }
}
