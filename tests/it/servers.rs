//! The servers of other makers that tests start, and the network that they break, do what the tests believe they do.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};

/// Long enough that what has not come by then does not come.
const LONG: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_outlives_the_server_however_it_ends() {
    let mut server = Postgres::start();
    let url = server.database();
    server.execute(&url, "CREATE TABLE kept (number BIGINT); INSERT INTO kept VALUES (1)");
    server.stop();
    assert!(connect(&url).await.is_err());
    server.start_again();
    server.execute(&url, "INSERT INTO kept VALUES (2)");
    server.kill();
    assert!(connect(&url).await.is_err());
    server.start_again();
    assert_eq!(sum(&connect(&url).await.unwrap()).await.unwrap(), 3);
    let copy = server.copy_of(&url);
    server.execute(&url, "DELETE FROM kept");
    assert_eq!(sum(&connect(&copy).await.unwrap()).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_answers_nobody_until_it_goes_on() {
    let server = Postgres::start();
    let url = server.database();
    server.execute(&url, "CREATE TABLE kept (number BIGINT)");
    let client = connect(&url).await.unwrap();
    server.pause();
    let mut asked = std::pin::pin!(sum(&client));
    assert!(timeout(LONG, &mut asked).await.is_err());
    assert!(timeout(LONG, connect(&url)).await.is_err());
    server.resume();
    assert_eq!(asked.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_holds_cuts_and_refuses() {
    let server = Postgres::start();
    let url = server.database();
    server.execute(&url, "CREATE TABLE kept (number BIGINT)");
    let mut proxy = Proxy::start(server.address()).await;
    let through = url.replace(&server.address().to_string(), &proxy.address().to_string());
    let client = connect(&through).await.unwrap();
    assert_eq!(sum(&client).await.unwrap(), 0);

    // The server does what it is asked, and nobody hears of it.
    proxy.flow(Flow::Pass, Flow::Hold);
    let forwarded = proxy.requested(1);
    let inserting = client.batch_execute("INSERT INTO kept VALUES (5)");
    let mut inserting = std::pin::pin!(inserting);
    assert!(timeout(LONG, &mut inserting).await.is_err());
    forwarded.await;
    assert!(timeout(LONG, connect(&through)).await.is_err());
    proxy.cut();
    assert!(inserting.await.is_err());
    assert_eq!(sum(&connect(&url).await.unwrap()).await.unwrap(), 5);

    proxy.flow(Flow::Hold, Flow::Pass);
    let mut connecting = std::pin::pin!(connect(&through));
    assert!(timeout(LONG, &mut connecting).await.is_err());
    proxy.flow(Flow::Slow(Duration::from_millis(1)), Flow::Pass);
    let client = connecting.await.unwrap();
    assert_eq!(sum(&client).await.unwrap(), 5);

    proxy.refuse().await;
    assert!(connect(&through).await.is_err());
    assert_eq!(sum(&client).await.unwrap(), 5, "a connection that is there stays");
    proxy.accept();
    connect(&through).await.unwrap();
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn sum(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let row = client.query_one("SELECT coalesce(sum(number), 0)::BIGINT FROM kept", &[]).await?;
    Ok(row.get(0))
}
