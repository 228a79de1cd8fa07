module github.com/athens-go/athens/tools/binaries

go 1.26.0

require github.com/CycloneDX/cyclonedx-go v0.12.0
