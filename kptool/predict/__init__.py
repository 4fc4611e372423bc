"""From pictures to keypoints: faces, crops, backends, output, export."""
