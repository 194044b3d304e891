//! Load for the benchmarks, from one thread that is cheap enough not to be what is
//! measured. One subcommand a shape; one JSON line of results on standard output.
//! With `--gate` it says `ready` once everything is connected and waits for a line on
//! standard input, so that a script reads the gateway's CPU time before and after.
#![forbid(unsafe_code)]

mod args;
mod client;
mod coap;
mod coap_observe;
mod dtls;
mod fleet;
mod http_idle;
mod idle;
mod ledger;
mod link;
mod packet;
mod storm;
mod throughput;

use args::Args;
use std::io::{BufRead, Write};
use std::process::ExitCode;

const HELP: &str = "tidegate-load <command> --port P [--host 127.0.0.1] [--gate]
  mqtt-throughput  --pubs 10 --subs 10 --shape pairs|fanout|fanin|shared
                   --window 64 --qos 0|1 --size 64 --seconds 5 [--kept] [--rate N]
  mqtt-device      --pairs 500 --qos 0|1 --size 64 --seconds 5
  mqtt-idle        --connections 1000 [--subscribe]     holds them until a line on stdin
  http-idle        --connections 1000 [--path /]        holds them until a line on stdin
  connect-storm    --connections 10000 --parallel 64
  coap-get         --clients 16 --seconds 5 --warm 0 [--met]   of /t/bench, one in flight each; met: each has asked once before
  coap-observe     --connections 10000 --writes 20 [--non]   observers of /t/bench and its changes; holds them until a line on stdin
                   both: [--psk identity:key]           over DTLS";

fn main() -> ExitCode {
    let outcome = Args::parse(std::env::args().skip(1)).and_then(|args| run(&args));
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("tidegate-load: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, String> {
    // Where the limit cannot be raised, the first refused socket says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match args.command.as_str() {
        "mqtt-throughput" => throughput::run(&throughput::Load::read(args)?),
        "mqtt-device" => throughput::run(&throughput::Load::device(args)?),
        "mqtt-idle" => idle::run(args),
        "http-idle" => http_idle::run(args),
        "connect-storm" => storm::run(args),
        "coap-get" => coap::run(args),
        "coap-observe" => coap_observe::run(args),
        _ => Err(HELP.to_owned()),
    }
}

/// Says that everything stands, and waits for a line or the end of standard input.
fn wait_for_line() -> Result<(), String> {
    println!("{{\"event\":\"ready\"}}");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    Ok(())
}
