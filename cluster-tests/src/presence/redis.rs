//! What only a presence in a Redis has to overcome: connections that break, servers that restart, passwords, TLS.
//!
//! Owns: the checks, on servers of their own. Invariant: a lost subscription is made again, and never without a word.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::command::Reply;
use quorate::presence::{Delivery, Error, Presence, RedisConfig, RedisPresence, Subscription};
use tokio::time::timeout;

use super::ground::{PATIENCE, payload};
use super::{gives, same, told, value};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::process::{RedisServer, free_addresses, wait_for};

/// Opens presences on one server.
///
/// # Errors
/// When its address cannot be used.
pub fn presences(config: &RedisConfig, count: usize) -> Outcome<Vec<Arc<dyn Presence>>> {
    let open = || RedisPresence::open(config).map_err(told);
    (0..count).map(|_| Ok(Arc::new(open()?) as Arc<dyn Presence>)).collect()
}

/// The settings for a server without secrets.
#[must_use]
pub fn at(address: SocketAddr) -> RedisConfig {
    RedisConfig::at(format!("redis://{address}"))
}

/// Starts a Redis Cluster of one server.
///
/// # Errors
/// When it does not start.
pub async fn start_cluster(program: &Path) -> Outcome<RedisServer> {
    let address = free_addresses(1)?.first().copied().ok_or_else(|| Failure::new("no port"))?;
    let bus = free_addresses(1)?.first().map(SocketAddr::port).unwrap_or_default().to_string();
    let more = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let server = RedisServer::start_at(program, address, &more).await?;
    let mut client = Client::connect(address).await?;
    client.ask("CLUSTER ADDSLOTSRANGE 0 16383").await?;
    wait_for("the cluster to take its slots", Duration::from_secs(20), || async {
        let state = Client::connect(address).await?.ask("CLUSTER INFO").await?.to_string();
        if state.contains("cluster_state:ok") { Ok(()) } else { Err(Failure::new(state)) }
    })
    .await?;
    Ok(server)
}

/// Runs a check by its number; none when there is no such check.
pub async fn run(number: usize, program: &Path) -> Option<(&'static str, Outcome)> {
    Some(match number {
        0 => ("a_broken_connection_is_made_again_and_told", broken(program).await),
        1 => ("a_restarted_server_is_found_again", restarted(program).await),
        2 => ("a_server_that_is_away_is_told_in_time", away().await),
        3 => ("passwords_and_databases_hold", passwords(program).await),
        4 => ("settings_that_cannot_be_used_are_refused", settings()),
        5 => ("tls_proves_the_server", tls(program).await),
        _ => return None,
    })
}

/// Waits for the news that some messages are missing.
async fn told_of_a_loss(listener: &Subscription) -> Outcome {
    loop {
        let next = timeout(PATIENCE, listener.next()).await;
        match next.map_err(|_| Failure::new("nobody tells of the loss"))? {
            Some(Delivery::Lost { count }) => return same("the count", count, None),
            Some(Delivery::Message(_)) => {}
            None => return Err(Failure::new("it has ended")),
        }
    }
}

/// Waits until the server knows a topic again.
async fn listed(presence: &dyn Presence, topic: &str) -> Outcome {
    wait_for("a topic to be subscribed to again", Duration::from_secs(30), || async {
        let listed = presence.channels("*").await.map_err(told)?;
        if listed.iter().any(|name| name == topic) {
            Ok(())
        } else {
            Err(Failure::new("it is not"))
        }
    })
    .await
}

async fn broken(program: &Path) -> Outcome {
    let server = RedisServer::start(program).await?;
    let presence = RedisPresence::open(&at(server.address)).map_err(told)?;
    let (one, two) = (presence.subscribe("one").await.map_err(told)?, presence.listen());
    two.add("two").await.map_err(told)?;
    let mut admin = Client::connect(server.address).await?;
    for round in 0..3 {
        admin.ask("CLIENT KILL TYPE pubsub").await?;
        told_of_a_loss(&one).await?;
        told_of_a_loss(&two).await?;
        listed(&presence, "one").await?;
        listed(&presence, "two").await?;
        for (topic, listener) in [("one", &one), ("two", &two)] {
            gives!(presence.publish(topic, Bytes::from(round.to_string())), ());
            same("the message", payload(listener).await?.1, Bytes::from(round.to_string()))?;
        }
        gives!(presence.set("k", value("v")), ());
        admin.ask("CLIENT KILL TYPE normal SKIPME yes").await?;
        // It leaves the same behind, so that it may be done again; what may not goes over a connection that lives.
        gives!(presence.set("k", value("v")), ());
        gives!(presence.incr("n"), round + 1);
        // A connection is tried before use once it has been idle for 500 ms.
        tokio::time::sleep(Duration::from_millis(600)).await;
        admin.ask("CLIENT KILL TYPE normal SKIPME yes").await?;
        gives!(presence.decr("n"), round);
        gives!(presence.incr("n"), round + 1);
    }
    let waiting = presence.brpop(&["l"], None);
    let killed = async {
        wait_for("a wait", Duration::from_secs(20), || async {
            let blocked =
                Client::connect(server.address).await?.ask("INFO clients").await?.to_string();
            if blocked.contains("blocked_clients:1") { Ok(()) } else { Err(Failure::new(blocked)) }
        })
        .await?;
        admin.ask("CLIENT KILL TYPE normal SKIPME yes").await.map(drop)
    };
    let (waited, killed) = tokio::join!(timeout(PATIENCE, waiting), killed);
    killed?;
    match waited.map_err(|_| Failure::new("a wait on a broken connection goes on"))? {
        Err(error @ Error::Unknown { .. }) => same("its effect", error.effect_is_none(), false),
        other => Err(Failure::new(format!("{other:?} of a wait on a broken connection"))),
    }
}

async fn restarted(program: &Path) -> Outcome {
    let server = RedisServer::start(program).await?;
    let address = server.address;
    let presence = RedisPresence::open(&at(address)).map_err(told)?;
    let listener = presence.subscribe("news").await.map_err(told)?;
    gives!(presence.set("k", value("v")), ());
    drop(server);
    let call = presence.get("k");
    // The call waits while nobody is there.
    let restart = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        RedisServer::start_at(program, address, &[]).await
    };
    let (found, server) = tokio::join!(call, restart);
    let _server = server?;
    same("a read across the restart", found, Ok(None))?;
    told_of_a_loss(&listener).await?;
    listed(&presence, "news").await?;
    gives!(presence.publish("news", value("again")), ());
    same("the message", payload(&listener).await?.1, value("again"))?;
    gives!(presence.incr("n"), 1);
    Ok(())
}

async fn away() -> Outcome {
    let address = free_addresses(1)?.first().copied().ok_or_else(|| Failure::new("no port"))?;
    let config = RedisConfig { patience: Duration::from_millis(300), ..at(address) };
    let presence = RedisPresence::open(&config).map_err(told)?;
    for failed in [
        presence.incr("n").await.map(drop),
        presence.brpop(&["l"], None).await.map(drop),
        presence.subscribe("t").await.map(drop),
        presence.publish("t", value("v")).await,
        presence.channels("*").await.map(drop),
    ] {
        match failed {
            Err(error @ Error::Unavailable { .. }) if error.effect_is_none() => {}
            other => return Err(Failure::new(format!("{other:?} without a server"))),
        }
    }
    Ok(())
}

async fn passwords(program: &Path) -> Outcome {
    let address = free_addresses(1)?.first().copied().ok_or_else(|| Failure::new("no port"))?;
    let server = RedisServer::start(program).await?;
    let plain = RedisPresence::open(&at(server.address)).map_err(told)?;
    let ask =
        |text: &str| plain.command(text.split(' ').map(|word| word.to_owned().into()).collect());
    gives!(ask("ACL SETUSER game on >secret ~* &* +@all"), Reply::Ok);
    gives!(ask("ACL SETUSER default on resetpass >other"), Reply::Ok);
    let of_user = RedisConfig {
        username: Some("game".to_owned()),
        password: Some("secret".to_owned()),
        database: Some(3),
        ..at(server.address)
    };
    same("it is not shown", format!("{of_user:?}").contains("secret"), false)?;
    let by_address = RedisConfig::at(format!("redis://:other@{}/3", server.address));
    let (user, default) = (open(&of_user)?, open(&by_address)?);
    gives!(user.set("k", value("v")), ());
    gives!(default.get("k"), Some(value("v")));
    let other = RedisConfig { database: Some(4), ..by_address };
    gives!(open(&other)?.get("k"), None);
    let listener = user.subscribe("t").await.map_err(told)?;
    gives!(default.publish("t", value("m")), ());
    same("the message", payload(&listener).await?.1, value("m"))?;
    let wrong = RedisConfig {
        password: Some("wrong".to_owned()),
        patience: Duration::from_millis(200),
        ..of_user
    };
    match open(&wrong)?.get("k").await {
        Err(Error::Unavailable { text, .. })
            if !text.contains("wrong") || text.contains("WRONGPASS") => {}
        other => return Err(Failure::new(format!("{other:?} with a wrong password at {address}"))),
    }
    Ok(())
}

fn open(config: &RedisConfig) -> Outcome<RedisPresence> {
    RedisPresence::open(config).map_err(told)
}

fn settings() -> Outcome {
    let two = vec!["redis://a".to_owned(), "redis://b".to_owned()];
    let default = RedisConfig::default;
    for wrong in [
        RedisConfig { servers: Vec::new(), ..default() },
        RedisConfig { servers: two, ..default() },
        RedisConfig::at("http://127.0.0.1"),
        RedisConfig::at("nonsense"),
        RedisConfig { is_cluster: true, database: Some(1), ..default() },
        RedisConfig { root_certificate: Some("no PEM".to_owned()), ..default() },
    ] {
        match RedisPresence::open(&wrong) {
            Err(Error::Setting { .. }) => {}
            other => return Err(Failure::new(format!("{other:?} with {:?}", wrong.servers))),
        }
    }
    Ok(())
}

async fn tls(program: &Path) -> Outcome {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.map_err(|error| Failure::new(error.to_string()))?;
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let ports = free_addresses(2)?;
    let [plain, secured] = ports.as_slice() else { return Err(Failure::new("no ports")) };
    let (tls_port, certificate) = (secured.port().to_string(), certificate.display().to_string());
    let key = key.display().to_string();
    let more = [
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ];
    let _server = RedisServer::start_at(program, *plain, &more).await?;
    let address = format!("rediss://localhost:{tls_port}");
    let trusting =
        RedisConfig { root_certificate: Some(made.cert.pem()), ..RedisConfig::at(&address) };
    let presence = open(&trusting)?;
    gives!(presence.set("k", value("v")), ());
    let listener = presence.subscribe("t").await.map_err(told)?;
    gives!(presence.publish("t", value("m")), ());
    same("the message", payload(&listener).await?.1, value("m"))?;
    let wary = RedisConfig { patience: Duration::from_millis(200), ..RedisConfig::at(&address) };
    match open(&wary)?.get("k").await {
        Err(Error::Unavailable { .. }) => Ok(()),
        other => Err(Failure::new(format!("{other:?} of a server that nobody vouches for"))),
    }
}
