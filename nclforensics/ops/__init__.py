"""Operations over all pairs of patches, each with a readable and a fast form."""
