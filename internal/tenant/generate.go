package tenant

//go:generate go run ./schemadoc ../../docs/tenant.md
