//! tower middleware, one module each. [`probes`] answers the probes of a service in front of it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_health::Health;
//!
//! let health = Health::builder("orders").start()?;
//! let app: Router = Router::new().layer(health.layer());
//! let response = app.oneshot(Request::get("/live").body(Body::empty())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

pub mod probes;
